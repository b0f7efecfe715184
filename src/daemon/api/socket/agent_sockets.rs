//! The sockets that belong to one agent each. They take the heartbeats of that agent and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::FutureExt as _;
use smol::channel::{Receiver, Sender, bounded};
use smol::{LocalExecutor, Task};

use super::{
    CHECK_INTERVAL, Host, RebindError, SocketFile, notifications, read_buffer, serve_datagrams_for_ever, serve_for_ever,
};
use crate::daemon::api::DaemonMetrics;
use crate::daemon::control::ControlApi;
use crate::daemon::registry::AgentId;
use ops_runtime::blocking;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::within;

/// How long the daemon waits until each socket has been bound or has failed once. After that, agents start without them.
const FIRST_TRY: Duration = Duration::from_secs(5);

/// The socket of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AgentSocket {
    /// The agent.
    pub agent: AgentId,
    /// The absolute path of the socket.
    pub path: PathBuf,
    /// The user that may use it beside root. `None`: that of the daemon.
    pub user: Option<String>,
    /// What it takes.
    pub takes: Takes,
}

/// What the socket of an agent takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Takes {
    /// Connections with heartbeats.
    Heartbeats,
    /// Datagrams as sd_notify(3) describes.
    Notifications,
}

/// The sockets that are wanted. The sender is dropped when they are open, or were tried.
pub(crate) type WantedSockets = (Vec<AgentSocket>, Sender<Infallible>);

/// All sockets of agents.
pub(crate) struct AgentSockets<D> {
    shared: Rc<Shared<D>>,
    /// Dropping a sender closes its socket, and then the task ends.
    open: HashMap<AgentSocket, (Sender<Infallible>, Task<()>)>,
}

struct Shared<D> {
    executor: Rc<LocalExecutor<'static>>,
    control: Rc<D>,
    metrics: DaemonMetrics,
    scratch: Rc<RefCell<Vec<u8>>>,
    /// Why a socket cannot be used.
    failing: RefCell<BTreeMap<AgentId, String>>,
    report: Box<dyn Fn(Option<String>)>,
}

impl<D> fmt::Debug for AgentSockets<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.open.keys()).finish()
    }
}

impl<D: ControlApi> AgentSockets<D> {
    /// Without sockets. `report` gets the reason when some cannot be used, and `None` when all can.
    pub(crate) fn new(
        executor: &Rc<LocalExecutor<'static>>,
        control: Rc<D>,
        metrics: DaemonMetrics,
        report: impl Fn(Option<String>) + 'static,
    ) -> Self {
        let (executor, scratch, report) = (Rc::clone(executor), read_buffer(), Box::new(report));
        let shared = Shared { executor, control, metrics, scratch, failing: RefCell::default(), report };
        Self { shared: Rc::new(shared), open: HashMap::new() }
    }

    /// Opens and closes sockets, so that these are open. Waits until each was tried, but not for long.
    pub(crate) async fn set(&mut self, wanted: Vec<AgentSocket>) {
        let is_unwanted = |socket: &AgentSocket, _: &mut (Sender<Infallible>, Task<()>)| !wanted.contains(socket);
        for (_, (open, closing)) in self.open.extract_if(is_unwanted) {
            drop(open);
            closing.detach();
        }
        let (tried, all_tried) = bounded(1);
        for socket in wanted {
            if !self.open.contains_key(&socket) {
                let (open, closed) = bounded(1);
                let serve = Rc::clone(&self.shared).serve(socket.clone(), closed, tried.clone());
                let serving = self.shared.executor.spawn(serve);
                self.open.insert(socket, (open, serving));
            }
        }
        drop(tried);
        let _: Option<Result<Infallible, _>> = within(FIRST_TRY, all_tried.recv()).await;
    }

    /// Keeps the sockets as each message wants them. When the channel is closed, closes them and removes their files.
    pub(crate) async fn follow(mut self, wanted: Receiver<WantedSockets>) {
        while let Ok((wanted, done)) = wanted.recv().await {
            self.set(wanted).await;
            drop(done);
        }
        let closing: Vec<Task<()>> = self.open.drain().map(|(_, (_, closing))| closing).collect();
        for closing in closing {
            closing.await;
        }
    }
}

impl<D: ControlApi> Shared<D> {
    /// Serves one socket until it is closed. What cannot be bound is tried again.
    async fn serve(self: Rc<Self>, socket: AgentSocket, closed: Receiver<Infallible>, tried: Sender<Infallible>) {
        let tried = Cell::new(Some(tried));
        let bound = async {
            loop {
                match bind(socket.clone()).await {
                    Ok(bound) => return Some(bound),
                    Err(error) => self.report(&socket.agent, Some(with_causes(&error))),
                }
                tried.take();
                Timer::after(CHECK_INTERVAL).await;
            }
        };
        let is_closed = async {
            let _ = closed.recv().await;
            None
        };
        if let Some(mut file) = bound.or(is_closed).await {
            tried.take();
            self.report(&socket.agent, None);
            tracing::info!(agent_id = %socket.agent, socket = %socket.path.display(), "listening");
            let serve = self.serve_bound(&socket, &mut file);
            let until_closed = async {
                let _ = closed.recv().await;
            };
            serve.or(until_closed).await;
            // The removal of the file blocks on the disk.
            let _ = blocking::unblock(move || drop(file)).await;
        }
        self.report(&socket.agent, None);
    }

    /// Serves a socket that is bound, for ever.
    async fn serve_bound(&self, socket: &AgentSocket, file: &mut SocketFile) {
        let report = |detail| self.report(&socket.agent, detail);
        match socket.takes {
            Takes::Notifications => {
                let received = async |bound: &Async<UnixDatagram>| {
                    notifications::receive(bound, &socket.agent, &*self.control).await;
                };
                serve_datagrams_for_ever(file, received, report).await;
            }
            Takes::Heartbeats => {
                let host = Rc::new(Host {
                    control: Rc::clone(&self.control),
                    metrics: self.metrics.clone(),
                    only: Some(AgentId::clone(&socket.agent)),
                    open: Cell::new(0),
                    scratch: Rc::clone(&self.scratch),
                });
                match file.listener().and_then(Async::new) {
                    Ok(listener) => serve_for_ever(&self.executor, file, listener, host, report).await,
                    Err(error) => report(Some(with_causes(&error))),
                }
            }
        }
    }

    fn report(&self, agent: &AgentId, detail: Option<String>) {
        let mut failing = self.failing.borrow_mut();
        match detail {
            Some(detail) => drop(failing.insert(AgentId::clone(agent), detail)),
            None if failing.remove(agent).is_none() => return,
            None => {}
        }
        let first = failing.first_key_value();
        (self.report)(first.map(|(id, detail)| match failing.len() {
            1 => format!("the socket of the agent {id} cannot be used: {detail}"),
            count => format!("the sockets of {count} agents cannot be used; that of {id}: {detail}"),
        }));
    }
}

/// Binds a socket beside the loop.
async fn bind(socket: AgentSocket) -> Result<SocketFile, RebindError> {
    let bind = move || match socket.takes {
        Takes::Heartbeats => SocketFile::bind(&socket.path, socket.user.as_deref()),
        Takes::Notifications => SocketFile::bind_datagram(&socket.path, socket.user.as_deref()),
    };
    Ok(blocking::unblock(bind).await??)
}
