//! Looks up host names on threads of their own, each name once at a time.
//!
//! A lookup cannot be interrupted. All requests for one name share it, also those that begin while it runs. So a name server
//! that never answers occupies one thread for each name, and at most as many as [`LOOKUPS`] has.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use ops_runtime::blocking::LOOKUPS;
use smol::channel::{Sender, bounded};

/// The maximum number of addresses of a host that are used.
const ADDRESSES: usize = 8;

/// The addresses of a name, or why there are none.
type Found = Result<Vec<IpAddr>, (io::ErrorKind, String)>;

/// The names that are being looked up, with the requests that wait for each.
static RUNNING: LazyLock<Mutex<HashMap<String, Vec<Sender<Found>>>>> = LazyLock::new(Mutex::default);

/// The addresses of a host. Dropping the future leaves the lookup to the next request for the same name.
///
/// # Errors
///
/// The name cannot be resolved, or the system refused a thread.
pub(super) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = bounded(1);
    if join(host, sender) {
        let name = Name(host.to_owned());
        LOOKUPS.spawn(move || name.look_up())?;
    }
    let found = receiver.recv().await.map_err(|_| io::Error::other("the lookup was not started"))?;
    let found = found.map_err(|(kind, text)| io::Error::new(kind, text))?;
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// Adds a request. Returns whether its lookup has to be started.
fn join(host: &str, sender: Sender<Found>) -> bool {
    let mut running = running();
    let waiting = running.get_mut(host);
    let is_first = waiting.is_none();
    match waiting {
        Some(waiting) => {
            waiting.retain(|other| !other.is_closed());
            waiting.push(sender);
        }
        None => drop(running.insert(host.to_owned(), vec![sender])),
    }
    is_first
}

fn running() -> MutexGuard<'static, HashMap<String, Vec<Sender<Found>>>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that is being looked up. When it is dropped, also because no thread was started, the next request starts anew.
struct Name(String);

impl Name {
    fn look_up(mut self) {
        let found = (self.0.as_str(), 0).to_socket_addrs();
        let found = found.map(|addresses| addresses.map(|address| address.ip()).take(ADDRESSES).collect());
        let found: Found = found.map_err(|error| (error.kind(), error.to_string()));
        // From here on, a request for the same name has a lookup of its own, which must not be dropped with this one.
        let name = std::mem::take(&mut self.0);
        for waiting in running().remove(&name).unwrap_or_default() {
            let _ = waiting.try_send(found.clone());
        }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            running().remove(&self.0);
        }
    }
}
