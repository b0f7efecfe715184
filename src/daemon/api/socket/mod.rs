//! The daemon over its Unix socket: heartbeats and control, an object a line.

pub(crate) mod dispatch;
pub(crate) mod file;
pub(crate) mod session;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

use async_io::Async;
use rustix::process::geteuid;
use smol::{LocalExecutor, Task};

use super::DaemonMetrics;
use crate::daemon::control::ControlApi;
use ops_http::server::{AcceptLoop, ListenerState};

pub(crate) use file::{SocketError, SocketFile};

/// How many connections may be open: one kept by each of a thousand agents, and room for whoever asks.
const CONNECTIONS: usize = 2048;

/// How much is read at once, in bytes.
const BATCH: usize = 64 * 1024;

/// Starts to serve. Dropping the task ends the accepting, and removes the socket file; what is open stays until its peer
/// or a deadline ends it. `report` is told why it cannot accept, whenever that changes, and `None` when it can again.
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
    Ok(executor.spawn(async move {
        // Lives as long as the accepting.
        let _file = socket;
        accept(&on, listener, &host, report).await;
    }))
}

/// What all connections share.
#[derive(Debug)]
pub struct Host<D> {
    control: Rc<D>,
    metrics: DaemonMetrics,
    open: Cell<usize>,
    /// Where bytes are read to. One for all, so that a connection that says nothing costs nothing.
    scratch: RefCell<Vec<u8>>,
}

impl<D> Host<D> {
    /// Without connections.
    pub fn new(control: Rc<D>, metrics: DaemonMetrics) -> Self {
        Self { control, metrics, open: Cell::new(0), scratch: RefCell::new(vec![0; BATCH]) }
    }
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
            session::turn_away(&stream);
            continue;
        };
        let may_control = may_control(&stream);
        executor.spawn(session::run(stream, slot, may_control)).detach();
    }
}

/// The file's mode lets nobody else in, unless somebody has changed it: control asks the kernel who is there.
fn may_control(stream: &Async<UnixStream>) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid())
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
        (open < CONNECTIONS).then(|| {
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
