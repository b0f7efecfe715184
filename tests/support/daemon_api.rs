//! The daemon's HTTP and socket APIs on a thread of the test, over a control API that the test sets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use ops_agent::testing::daemon::api::DaemonMetrics;
use ops_agent::testing::daemon::api::http::{ControlAuth, Http};
use ops_agent::testing::daemon::api::socket::{self, SocketFile};
use ops_http::Token;
use ops_http::server::{ServerLimits, bind, listen_on, serve};
use ops_protocol::Command;
use smol::LocalExecutor;
use smol::channel::{Sender, bounded};
use tempfile::TempDir;

use super::control::FakeControl;

/// What the test runs on the thread of the control API.
type ControlCall = Box<dyn FnOnce(&FakeControl) + Send>;

/// Both APIs, served until dropped.
pub(crate) struct DaemonApi {
    pub(crate) http: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) commands: mpsc::Receiver<(String, Command)>,
    calls: Option<Sender<ControlCall>>,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl DaemonApi {
    /// With this number of agents, and without a token.
    pub(crate) fn start(agents: u32) -> Self {
        Self::with_token(agents, None)
    }

    pub(crate) fn with_token(agents: u32, token: Option<&str>) -> Self {
        Self::with_limits(agents, token, ServerLimits::of_daemon())
    }

    pub(crate) fn with_limits(agents: u32, token: Option<&str>, limits: ServerLimits) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("daemon.sock");
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let http = listener.local_addr().expect("an address");
        let file = SocketFile::bind(&socket, None).expect("a socket");
        let auth = ControlAuth::of(http, token.and_then(Token::from_file), false);
        let (sender, commands) = mpsc::channel();
        let (calls, inbox) = bounded::<ControlCall>(1);
        let thread = std::thread::spawn(move || {
            let executor = Rc::new(LocalExecutor::new());
            let control = Rc::new(FakeControl::new(agents, sender));
            let metrics = DaemonMetrics::new().expect("metrics");
            let http_api = Http::new(Rc::clone(&control), auth, metrics.clone(), None);
            let server = serve(&executor, listen_on(listener).expect("a listener"), limits, http_api, |_| {});
            let lines = socket::serve(&executor, file, Rc::clone(&control), metrics, |_| {}).expect("a listener");
            smol::block_on(executor.run(async {
                while let Ok(call) = inbox.recv().await {
                    call(&control);
                }
                server.drain(Duration::ZERO).await;
                lines.cancel().await;
            }));
        });
        Self { http, socket, commands, calls: Some(calls), thread: Some(thread), _directory: directory }
    }

    /// Runs `ask` on the thread of the control API.
    pub(crate) fn with_control<T: Send + 'static>(&self, ask: impl FnOnce(&FakeControl) -> T + Send + 'static) -> T {
        let (reply, replied) = mpsc::channel();
        let call: ControlCall = Box::new(move |control| reply.send(ask(control)).expect("the test waits"));
        self.calls.as_ref().expect("until dropped").send_blocking(call).expect("its thread runs");
        replied.recv().expect("its thread did not panic")
    }
}

impl Drop for DaemonApi {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the daemon's thread panicked");
        }
    }
}
