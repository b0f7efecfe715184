//! The wiring: from a configuration to a running agent, and from its end to an exit code.

mod activation;
mod source;
mod world;

pub use source::Source;

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use smol::LocalExecutor;
use smol::channel::{Receiver, Sender};
use statemachine::lifecycle::{FaultName, Limits, Machine, Outcome, Part};

use self::world::{Machinery, RealWorld};
use super::cadence::{Cadence, Pace};
use super::driver::{Driver, Parts, Report};
use super::inputs::http::{Api, Token, routes};
use super::inputs::signals::{Asked, Handlers};
use super::metrics::Metrics;
use super::outputs::service_manager::ServiceManager;
use super::outputs::status_file::{Found, OpenError, StatusWriter};
use super::reload::ReloadRequest;
use super::snapshot::{HeartbeatView, Published, Snapshot, Usage};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Loaded;
use crate::config::agent::{AgentConfig, HeartbeatConfig};
use crate::logging;
use crate::net::server::{BindError, Condition, listen_on, serve};

/// From the start to the proof of the last part. Setting up takes milliseconds; a part that has not come by then will not.
const START: Duration = Duration::from_secs(30);
/// From the request to stop to the end of the drain: with the last write, the whole stop stays within ten seconds.
const GRACE: Duration = Duration::from_secs(8);

/// Why the agent did not come up. Said before the loop runs, so nobody else can have said it.
#[derive(Debug)]
pub enum StartError {
    /// Logging cannot begin.
    Log(std::io::Error),
    /// The status file cannot be had.
    StatusFile(OpenError),
    /// Something that the process needs of the system.
    System(&'static str, std::io::Error),
    /// The counters cannot be set up.
    Metrics(prometheus::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => write!(f, "{error}"),
            Self::StatusFile(error) => write!(f, "{error}"),
            Self::System(what, _) => write!(f, "{what}: see the limits of this process"),
            Self::Metrics(_) => write!(f, "the metrics cannot be set up"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Log(error) => error.source(),
            Self::StatusFile(error) => error.source(),
            Self::System(_, error) => Some(error),
            Self::Metrics(error) => Some(error),
        }
    }
}

/// How a life ended, and why, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// Why.
    pub cause: String,
}

/// Runs the agent until it ends. `source` is where `loaded` came from, and where a reload looks again.
///
/// # Errors
///
/// [`StartError`] if it did not come as far as the loop.
pub fn run(handlers: Handlers, source: Source, loaded: Loaded<AgentConfig>) -> Result<End, StartError> {
    let Loaded { config, file, notes } = loaded;
    // A reload reads the same file again, even if one of higher rank has appeared meanwhile.
    let source = Source { file, ..source };
    logging::start(&config.log, ("agent_id", &config.agent_id)).map_err(StartError::Log)?;
    let (writer, found) = StatusWriter::open(&config.state.file, config.state.strict).map_err(|error| {
        tracing::error!(%error, "not started");
        StartError::StatusFile(error)
    })?;
    for note in notes.iter().chain(&found.notes) {
        tracing::warn!("{note}");
    }
    log_start(&config, &source, &writer, &found);
    let executor = Rc::new(LocalExecutor::new());
    let agent = Agent { config, source, writer, found, executor: Rc::clone(&executor) };
    smol::block_on(executor.run(agent.live(handlers)))
}

/// A start that has the lock, so from here on the status file says how it goes.
struct Agent {
    config: AgentConfig,
    source: Source,
    writer: StatusWriter,
    found: Found,
    executor: Rc<LocalExecutor<'static>>,
}

impl Agent {
    async fn live(self, handlers: Handlers) -> Result<End, StartError> {
        let Self { config, source, writer, found, executor } = self;
        let clock = SystemClock;
        let now = clock.now();
        let limits = Limits { start: START, grace: GRACE, refresh: config.state.refresh };
        let machine = Machine::new(now, found.incarnation, found.sequence, limits);
        let api = Listening::begin(&config);
        let published = Published::new(Snapshot {
            agent_id: Arc::from(config.agent_id.as_str()),
            pid: std::process::id(),
            lifecycle: Arc::new(machine.clone()),
            heartbeat: HeartbeatView::default(),
            usage: Usage::default(),
            http: api.as_ref().ok().and_then(|api| api.listener.local_addr().ok()),
        });
        let metrics = Metrics::new().map_err(StartError::Metrics)?;
        let mut rng = fastrand::Rng::new();
        let cadence =
            config.heartbeat.as_ref().map(|heartbeat| Cadence::new(pace(heartbeat), now.monotonic, rng.fork()));
        let world = Rc::new(RealWorld::new(Machinery { config, source, writer, previous: found.previous }));
        let (driver, outbox) = Driver::new(Parts {
            clock,
            world: Rc::clone(&world),
            executor: Rc::clone(&executor),
            machine,
            cadence,
            published: published.clone(),
            metrics: metrics.clone(),
            watchdog: ServiceManager::watchdog(),
            rng,
        });
        forward_signals(&executor, handlers, outbox.clone());
        match api.and_then(|api| api.start(&executor, published.clone(), metrics, outbox.clone())) {
            Ok(server) => world.serve(server),
            Err(reason) => {
                tracing::error!(error = reason, "not started");
                let _ = outbox.try_send(Report::StartFailed(reason));
            }
        }
        let outcome = driver.run().await;
        let cause = published.get().lifecycle.cause().to_owned();
        tracing::info!(?outcome, cause, "ended");
        Ok(End { outcome, cause })
    }
}

/// The API's listener, bound, and what its routes need.
struct Listening {
    listener: std::net::TcpListener,
    limits: crate::net::server::Limits,
    token: Option<Token>,
}

impl Listening {
    fn begin(config: &AgentConfig) -> Result<Self, String> {
        let http = &config.http;
        let token = http.token_file.as_deref().map(read_token).transpose()?;
        let listener = match activation::listener() {
            Some(listener) => listener,
            None => {
                crate::net::server::bind((http.host, http.port).into()).map_err(|error: BindError| error.to_string())?
            }
        };
        Ok(Self { listener, limits: http.limits.clone(), token })
    }

    /// Serves from here on. That it really accepts is reported, not assumed.
    fn start(
        self,
        executor: &Rc<LocalExecutor<'static>>,
        published: Published,
        metrics: Metrics,
        outbox: Sender<Report>,
    ) -> Result<crate::net::server::Server, String> {
        let address = self.listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let (reload, requests) = smol::channel::bounded(1);
        forward_reloads(executor, requests, outbox.clone());
        let render = Arc::new(move |snapshot: &Snapshot| {
            metrics.render(snapshot).unwrap_or_else(|error| format!("# metrics cannot be shown: {error}\n"))
        });
        let routes = routes(Api { published, reload, token: self.token, render });
        let listener = listen_on(self.listener).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        tracing::info!(address, "listening");
        let mut proved = false;
        let report = move |condition| {
            let report = match condition {
                Condition::Accepting if !std::mem::replace(&mut proved, true) => Report::Proved(Part::Api),
                Condition::Accepting => Report::Cleared(FaultName::Http),
                Condition::Failing(detail) => Report::Raised(FaultName::Http, detail),
            };
            let _ = outbox.try_send(report);
        };
        Ok(serve(executor, listener, self.limits, routes, report))
    }
}

/// What the cadence needs of the configuration.
fn pace(config: &HeartbeatConfig) -> Pace {
    Pace {
        interval: config.interval,
        timeout: config.timeout,
        failure_threshold: config.failure_threshold,
        recovery_threshold: config.recovery_threshold,
    }
}

fn read_token(path: &Path) -> Result<Token, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("token file {}: {error}; put a token there that only this user can read", path.display())
    })?;
    Token::from_file(&text).ok_or_else(|| format!("token file {} has no token in its first line", path.display()))
}

fn forward_signals(executor: &Rc<LocalExecutor<'static>>, handlers: Handlers, outbox: Sender<Report>) {
    let signals = handlers.listen(executor);
    executor
        .spawn(async move {
            while let Ok(asked) = signals.recv().await {
                let report = match asked {
                    Asked::Stop(signal) => Report::StopRequested(signal.to_owned()),
                    Asked::Reload => Report::ReloadRequested(ReloadRequest { by: "SIGHUP".to_owned(), reply: None }),
                };
                let _ = outbox.try_send(report);
            }
        })
        .detach();
}

fn forward_reloads(executor: &Rc<LocalExecutor<'static>>, requests: Receiver<ReloadRequest>, outbox: Sender<Report>) {
    executor
        .spawn(async move {
            while let Ok(request) = requests.recv().await {
                let _ = outbox.try_send(Report::ReloadRequested(request));
            }
        })
        .detach();
}

/// Says once what is in force, with absolute paths: relative ones depend on who started the process.
fn log_start(config: &AgentConfig, source: &Source, writer: &StatusWriter, found: &Found) {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    let previous = found.previous.map(|previous| previous.ended.as_str());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        incarnation = found.incarnation,
        previous,
        config = source.file.as_deref().map_or_else(|| "(embedded)".to_owned(), |file| absolute(file).display().to_string()),
        status_file = %writer.path().display(),
        log = logging::destination(config.log.file.as_deref().map(absolute).as_deref()),
        heartbeat = if config.heartbeat.is_some() { "on" } else { "standalone" },
        "starting"
    );
}
