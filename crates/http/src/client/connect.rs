//! From a name to a connected stream.

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, vec};

use async_io::{Async, Timer};
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use http_client::http_types::url::Host;

use super::error::Error;
use crate::tls;
use ops_runtime::blocking;

/// How long the first of a host's addresses is tried alone before the next one joins in (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// How many of a host's addresses are tried.
const ADDRESSES: usize = 8;

/// What a connection is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Whom to connect to.
pub(super) struct Target {
    /// Scheme, host and port: what a connection can be used for again.
    pub(super) authority: String,
    /// Whether TLS is to be spoken.
    pub(super) secure: bool,
    pub(super) host: Host<String>,
    pub(super) port: u16,
}

/// Looks names up beside the loop, one at a time.
///
/// A lookup cannot be interrupted. One that outlives its request is kept for the next request, so that a name server
/// that never answers occupies one thread rather than one more at each try.
#[derive(Default)]
pub(super) struct Resolver {
    under_way: Mutex<Option<Lookup>>,
}

struct Lookup {
    host: String,
    port: u16,
    task: Pin<Box<dyn Future<Output = io::Result<vec::IntoIter<SocketAddr>>> + Send>>,
}

impl Resolver {
    /// Connects to the first address of the target that lets us, and makes the TLS handshake if it is to be.
    pub(super) async fn connect(&self, target: &Target, tls: Option<&tls::Client>) -> Result<Box<dyn Stream>, Error> {
        let addresses = match &target.host {
            Host::Ipv4(ip) => vec![SocketAddr::from((*ip, target.port))],
            Host::Ipv6(ip) => vec![SocketAddr::from((*ip, target.port))],
            Host::Domain(name) => self.lookup(name, target.port).await.map_err(Error::NoSuchHost)?,
        };
        let stream = race(addresses).await.map_err(Error::NotConnected)?;
        // hyper writes whole messages, so there is nothing to gain from waiting for more.
        stream.get_ref().set_nodelay(true).map_err(Error::NotConnected)?;
        match (target.secure, tls) {
            (false, _) => Ok(Box::new(stream)),
            (true, Some(tls)) => Ok(Box::new(tls.connect(&target.host, stream).await.map_err(Error::Tls)?)),
            (true, None) => Err(Error::Unsupported("nothing says whose certificates to trust: use `http`".to_owned())),
        }
    }

    /// Whether a name is being looked up.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        poll_fn(|cx| {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            if under_way.as_ref().is_none_or(|lookup| (lookup.host.as_str(), lookup.port) != (host, port)) {
                *under_way = Some(Lookup::start(host, port));
            }
            let Some(lookup) = under_way.as_mut() else { return Poll::Pending };
            let found = std::task::ready!(lookup.task.as_mut().poll(cx));
            *under_way = None;
            Poll::Ready(found.map(|addresses| addresses.take(ADDRESSES).collect()))
        })
        .await
    }
}

impl Lookup {
    fn start(host: &str, port: u16) -> Self {
        let name = host.to_owned();
        let look_up = async move { blocking::unblock(move || (name, port).to_socket_addrs()).await? };
        Self { host: host.to_owned(), port, task: Box::pin(look_up) }
    }
}

/// Connects to whichever address answers first; each has a head start over the next one unless it fails.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<Async<TcpStream>> {
    let mut race = Race {
        waiting: addresses.into_iter(),
        running: Vec::new(),
        next: Timer::after(HEAD_START),
        failure: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
    };
    poll_fn(|cx| race.poll(cx)).await
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<Async<TcpStream>>> + Send>>;

struct Race {
    waiting: vec::IntoIter<SocketAddr>,
    running: Vec<Attempt>,
    next: Timer,
    failure: io::Error,
}

impl Race {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Async<TcpStream>>> {
        loop {
            let mut winner = None;
            self.running.retain_mut(|attempt| match attempt.poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    winner = Some(stream);
                    false
                }
                Poll::Ready(Err(error)) => {
                    self.failure = error;
                    false
                }
                Poll::Pending => true,
            });
            if let Some(stream) = winner {
                return Poll::Ready(Ok(stream));
            }
            if !self.running.is_empty() && (self.waiting.len() == 0 || self.next.poll(cx).is_pending()) {
                return Poll::Pending;
            }
            let Some(address) = self.waiting.next() else {
                return Poll::Ready(Err(std::mem::replace(&mut self.failure, io::ErrorKind::NotConnected.into())));
            };
            self.running.push(Box::pin(Async::<TcpStream>::connect(address)));
            self.next.set_after(HEAD_START);
        }
    }
}
