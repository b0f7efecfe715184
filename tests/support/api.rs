//! The agent's API on a thread of the test: the real server and routes, with a state that the test sets.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use async_io::Async;
use ops_agent::testing::agent::api::{Api, routes};
use ops_agent::testing::agent::reload::ReloadRequest;
use ops_agent::testing::agent::snapshot::{Published, Snapshot};
use ops_http::Token;
use ops_http::server::{Handler, Listener, ListenerState, ServerLimits, bind, listen_on, serve};
use smol::LocalExecutor;
use smol::channel::{Receiver, Sender, bounded};

use super::http::DEADLINE;
pub(crate) use super::snapshot::{after, running, snapshot, starting};

/// A server on a thread of its own.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) conditions: mpsc::Receiver<ListenerState>,
    stop: Sender<Duration>,
    thread: Option<JoinHandle<usize>>,
}

impl Served {
    /// Starts a server and waits until it accepts connections.
    pub(crate) fn start<H: Handler>(limits: ServerLimits, handler: impl FnOnce() -> H + Send + 'static) -> Self {
        Self::start_on(limits, handler, |listener| listener)
    }

    /// The same, with a wrapper around the system's listener.
    pub(crate) fn start_on<H: Handler, L: Listener>(
        limits: ServerLimits,
        handler: impl FnOnce() -> H + Send + 'static,
        wrap: impl FnOnce(Async<TcpListener>) -> L + Send + 'static,
    ) -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = bounded::<Duration>(1);
        let (report, conditions) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let executor = Rc::new(LocalExecutor::new());
            let listener = wrap(listen_on(listener).expect("a listener"));
            let server = serve(&executor, listener, limits, handler(), move |condition| {
                let _ = report.send(condition);
            });
            smol::block_on(executor.run(async {
                match stopped.recv().await {
                    Ok(grace) => server.drain(grace).await,
                    Err(_) => 0,
                }
            }))
        });
        let served = Self { address, conditions, stop, thread: Some(thread) };
        assert_eq!(served.conditions.recv_timeout(DEADLINE), Ok(ListenerState::Accepting));
        served
    }

    /// Starts the drain without waiting for it.
    pub(crate) fn begin_drain(&self, grace: Duration) {
        self.stop.send_blocking(grace).expect("the server is there");
    }

    /// Waits for the end of the drain, and returns how many requests were cut off.
    pub(crate) fn drained(&mut self) -> usize {
        self.thread.take().expect("drained once").join().expect("the server's thread survived")
    }
}

/// A server with the agent's routes.
pub(crate) struct ApiServer {
    pub(crate) served: Served,
    pub(crate) published: Published,
    pub(crate) reloads: Receiver<ReloadRequest>,
}

impl ApiServer {
    /// With an agent that is Running, and no token.
    pub(crate) fn start(limits: ServerLimits) -> Self {
        Self::with_token(limits, None)
    }

    pub(crate) fn with_token(limits: ServerLimits, token: Option<Token>) -> Self {
        let published = Published::new(snapshot(running()));
        let (reload, reloads) = bounded(1);
        let render = Arc::new(|snapshot: &Snapshot| format!("agent_info{{id=\"{}\"}} 1\n", snapshot.agent_id));
        let api = Api { published: published.clone(), reload, token, verifies_clients: false, render };
        Self { served: Served::start(limits, move || routes(api)), published, reloads }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.served.address
    }
}
