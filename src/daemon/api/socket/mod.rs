//! The daemon's Unix socket: heartbeats and control, one JSON object per line.

pub(crate) mod agent_sockets;
pub(crate) mod dispatch;
pub(crate) mod file;
mod notifications;
pub(crate) mod session;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::FutureExt as _;
use rustix::process::geteuid;
use smol::{LocalExecutor, Task};

use super::DaemonMetrics;
use crate::daemon::control::ControlApi;
use crate::daemon::registry::AgentId;
use ops_http::server::{AcceptLoop, ListenerState};
use ops_runtime::blocking;
use ops_runtime::causes::with_causes;

pub(crate) use agent_sockets::{AgentSocket, AgentSockets, Takes, WantedSockets};
pub(crate) use file::{SocketError, SocketFile};

/// The maximum number of connections: one for each of a thousand agents, and as many for other callers.
const CONNECTIONS: usize = 2048;

/// The maximum number of connections to the socket of one agent: one for each process that sends heartbeats.
const CONNECTIONS_OF_AN_AGENT: usize = 32;

/// The interval at which the daemon looks whether its socket file is still there.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The size of one read, in bytes.
const BATCH: usize = 64 * 1024;

/// Starts to serve. When the task is dropped, the daemon accepts no more connections and removes the socket file.
/// Open connections stay until the peer or a deadline closes them. `report` gets the error when accepting fails, and
/// `None` when it works again.
///
/// # Errors
///
/// If the reactor cannot watch the socket.
pub fn serve<D: ControlApi>(
    executor: &Rc<LocalExecutor<'static>>,
    socket: SocketFile,
    control: Rc<D>,
    metrics: DaemonMetrics,
    report: impl FnMut(Option<String>) + 'static,
) -> io::Result<Task<()>> {
    let listener = Async::new(socket.listener()?)?;
    let host = Rc::new(Host::new(control, metrics));
    let on = Rc::clone(executor);
    // The file is removed when the task ends.
    let mut socket = socket;
    Ok(executor.spawn(async move { serve_for_ever(&on, &mut socket, listener, host, report).await }))
}

/// Accepts connections, and binds the path again when its file has disappeared.
async fn serve_for_ever<D: ControlApi>(
    executor: &Rc<LocalExecutor<'static>>,
    socket: &mut SocketFile,
    mut listener: Async<UnixListener>,
    host: Rc<Host<D>>,
    mut report: impl FnMut(Option<String>),
) {
    loop {
        accept(executor, listener, &host, &mut report).or(removed(socket)).await;
        listener = loop {
            bind_until_it_works(socket, &mut report).await;
            match socket.listener().and_then(Async::new) {
                Ok(listener) => break listener,
                Err(error) => report(Some(format!("the socket cannot be watched: {error}"))),
            }
            Timer::after(CHECK_INTERVAL).await;
        };
    }
}

/// Takes datagrams by `receive`, and binds the path again when its file has disappeared.
async fn serve_datagrams_for_ever(
    socket: &mut SocketFile,
    receive: impl AsyncFn(&Async<UnixDatagram>),
    mut report: impl FnMut(Option<String>),
) {
    loop {
        match socket.datagrams().and_then(Async::new) {
            Ok(bound) => receive(&bound).or(removed(socket)).await,
            Err(error) => report(Some(format!("the socket cannot be watched: {error}"))),
        }
        if is_removed(socket).await {
            bind_until_it_works(socket, &mut report).await;
        } else {
            Timer::after(CHECK_INTERVAL).await;
        }
    }
}

/// Waits until the file of the socket is no longer its own.
async fn removed(socket: &SocketFile) {
    while !is_removed(socket).await {
        Timer::after(CHECK_INTERVAL).await;
    }
}

/// Binds the path of a socket whose file was removed.
async fn bind_until_it_works(socket: &mut SocketFile, report: &mut impl FnMut(Option<String>)) {
    tracing::warn!(socket = %socket.path().display(), "the socket file was removed: binding it again");
    while let Err(error) = bind_again(socket).await {
        report(Some(format!("the socket file was removed: {}", with_causes(&error))));
        Timer::after(CHECK_INTERVAL).await;
    }
    report(None);
    tracing::info!(socket = %socket.path().display(), "listening");
}

/// Whether the file of the socket is no longer its own. If no thread is left to look, it is as it was.
async fn is_removed(socket: &SocketFile) -> bool {
    blocking::unblock(socket.is_in_place()).await.is_ok_and(|in_place| !in_place)
}

/// Binds the path again, beside the loop.
async fn bind_again(socket: &mut SocketFile) -> Result<(), RebindError> {
    let bound = blocking::unblock(socket.bind_again()).await??;
    socket.replace(bound);
    Ok(())
}

/// Why the path of the socket is not bound again.
#[derive(Debug, thiserror::Error)]
enum RebindError {
    /// The path cannot be bound.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The daemon has no thread or descriptor left.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The state that all connections to one socket share.
#[derive(Debug)]
pub struct Host<D> {
    control: Rc<D>,
    metrics: DaemonMetrics,
    /// The agent that the socket belongs to. Then it takes only the heartbeats of that agent.
    only: Option<AgentId>,
    open: Cell<usize>,
    /// The read buffer. All connections share it, so an idle connection needs no memory for one.
    scratch: Rc<RefCell<Vec<u8>>>,
}

impl<D> Host<D> {
    /// The daemon's socket, without connections.
    pub fn new(control: Rc<D>, metrics: DaemonMetrics) -> Self {
        Self { control, metrics, only: None, open: Cell::new(0), scratch: read_buffer() }
    }
}

fn read_buffer() -> Rc<RefCell<Vec<u8>>> {
    Rc::new(RefCell::new(vec![0; BATCH]))
}

async fn accept<D: ControlApi>(
    executor: &Rc<LocalExecutor<'static>>,
    listener: Async<UnixListener>,
    host: &Rc<Host<D>>,
    mut report: impl FnMut(Option<String>),
) {
    let mut accept_loop = AcceptLoop::new(listener, |state| match state {
        ListenerState::Accepting => report(None),
        ListenerState::Failing(error) => report(Some(format!("cannot accept connections on the socket: {error}"))),
    });
    loop {
        let (stream, _) = accept_loop.next().await;
        let Some(slot) = ConnSlot::take(host) else {
            session::refuse(&stream);
            continue;
        };
        let peer = SocketPeer::of(&stream);
        executor.spawn(session::run(stream, slot, peer)).detach();
    }
}

/// The peer of a connection, as the kernel reports it. The mode of the socket's file could have been changed.
#[derive(Debug, Clone, Copy)]
pub struct SocketPeer {
    /// Its pid, if this PID namespace has one for it.
    pub pid: Option<u32>,
    /// Its user, if the kernel tells it.
    pub user: Option<u32>,
    /// Whether it is root or the daemon's user. They may give commands, read logs, and speak for any agent.
    pub is_owner: bool,
}

impl SocketPeer {
    fn of(stream: &Async<UnixStream>) -> Self {
        match rustix::net::sockopt::socket_peercred(stream) {
            Ok(peer) => Self {
                pid: u32::try_from(peer.pid.as_raw_nonzero().get()).ok(),
                user: Some(peer.uid.as_raw()),
                is_owner: peer.uid.is_root() || peer.uid == geteuid(),
            },
            Err(_) => Self { pid: None, user: None, is_owner: false },
        }
    }
}

impl fmt::Display for SocketPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
        write!(f, "pid {}, uid {}", number(self.pid), number(self.user))
    }
}

/// The slot of one connection. Dropping it frees the slot.
#[derive(Debug)]
pub struct ConnSlot<D> {
    host: Rc<Host<D>>,
}

impl<D> ConnSlot<D> {
    /// Takes a slot. `None`: all are taken.
    pub fn take(host: &Rc<Host<D>>) -> Option<Self> {
        let open = host.open.get();
        let limit = if host.only.is_some() { CONNECTIONS_OF_AN_AGENT } else { CONNECTIONS };
        (open < limit).then(|| {
            host.open.set(open + 1);
            Self { host: Rc::clone(host) }
        })
    }
}

impl<D> Drop for ConnSlot<D> {
    fn drop(&mut self) {
        self.host.open.set(self.host.open.get().saturating_sub(1));
    }
}
