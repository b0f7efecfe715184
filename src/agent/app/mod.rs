//! The wiring: from a configuration to a running agent, and from its end to an exit code.

pub(crate) mod activation;
pub(crate) mod listening;
pub(crate) mod setup;
pub(crate) mod source;
pub(crate) mod system_effects;

pub(crate) use setup::StartError;
pub(crate) use source::ConfigSource;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use smol::LocalExecutor;
use smol::channel::{Receiver, Sender};
use statemachine::lifecycle::{ExitKind, Limits, Machine};

use self::listening::Listening;
use self::setup::Setup;
use self::system_effects::{SystemEffects, SystemEffectsConfig};
use super::event_loop::{EventLoop, EventLoopConfig, LoopEvent};
use super::heartbeat::scheduler::{HeartbeatPolicy, HeartbeatScheduler};
use super::metrics::AgentMetrics;
use super::reload::ReloadRequest;
use super::snapshot::{HeartbeatView, Published, Snapshot, Usage};
use ops_config::agent::HeartbeatConfig;
use ops_runtime::blocking;
use ops_runtime::clock::{Clock as _, SystemClock};
use ops_runtime::executor;
use ops_runtime::service_manager;
use ops_runtime::signals::{Handlers, SignalRequest};

/// From the start to the proof of the last part. Setting up takes milliseconds; a part that has not come by then will not.
const START: Duration = Duration::from_secs(30);
/// From the request to stop to the end of the drain: with the last write, the whole stop stays within ten seconds.
const GRACE: Duration = Duration::from_secs(8);

/// How a life ended, and why, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How.
    pub outcome: ExitKind,
    /// Why.
    pub cause: String,
}

/// Runs the agent until it ends. `source` says where its configuration is, now and at each reload.
///
/// # Errors
///
/// [`StartError`] if it did not come as far as the loop.
pub fn run(handlers: Handlers, source: ConfigSource) -> Result<End, StartError> {
    let executor = Rc::new(LocalExecutor::new());
    executor::run(&executor, async {
        let signals = handlers.listen(&executor);
        let mut early = Early { stop: None, reload: false };
        let setup = blocking::unblock(move || Setup::begin(source));
        match first_of(setup, early.watch(&signals)).await {
            Some(setup) => live(setup.map_err(StartError::Thread)??, &executor, signals, early.reload).await,
            None => early.end(),
        }
    })
}

/// What the setup led to, unless somebody ended it or it took too long.
async fn first_of<T>(setup: impl Future<Output = T>, interruption: impl Future<Output = ()>) -> Option<T> {
    let done = async { Some(setup.await) };
    let given_up = async {
        interruption.await;
        None
    };
    done.or(given_up).await
}

/// What is asked for while the agent is not even Starting.
struct Early {
    stop: Option<&'static str>,
    reload: bool,
}

impl Early {
    /// Ends when somebody asks for the end, or when nothing can be expected any more.
    async fn watch(&mut self, signals: &Receiver<SignalRequest>) {
        let listen = async {
            loop {
                match signals.recv().await {
                    Ok(SignalRequest::Stop(signal)) => return self.stop = Some(signal),
                    // The file may have been read already.
                    Ok(SignalRequest::Reload) => self.reload = true,
                    Err(_) => std::future::pending().await,
                }
            }
        };
        let limit = SystemClock.now().monotonic + START;
        listen.or(SystemClock.sleep_until(limit)).await;
    }

    fn end(&self) -> Result<End, StartError> {
        let signal = self.stop.ok_or(StartError::TooSlow(START))?;
        Ok(End { outcome: ExitKind::Clean, cause: format!("{signal} before anything was set up") })
    }
}

async fn live(
    setup: Setup,
    executor: &Rc<LocalExecutor<'static>>,
    signals: Receiver<SignalRequest>,
    reload_first: bool,
) -> Result<End, StartError> {
    let Setup { config, source, writer, found, api, tls } = setup;
    let now = SystemClock.now();
    let limits = Limits { start: START, grace: GRACE, refresh: config.state.refresh };
    let machine = Machine::new(now, found.incarnation, found.sequence, limits);
    let published = Published::new(Snapshot {
        agent_id: Arc::from(config.agent_id.as_str()),
        pid: std::process::id(),
        lifecycle: Arc::new(machine.clone()),
        heartbeat: HeartbeatView::default(),
        usage: Usage::default(),
        http: api.as_ref().ok().map(|api| api.address),
        https: api.as_ref().is_ok_and(Listening::is_secure),
    });
    let metrics = AgentMetrics::new().map_err(StartError::AgentMetrics)?;
    let mut rng = fastrand::Rng::new();
    let scheduler = config
        .heartbeat
        .as_ref()
        .map(|heartbeat| HeartbeatScheduler::new(policy(heartbeat), now.monotonic, rng.fork()));
    let system =
        Rc::new(SystemEffects::new(SystemEffectsConfig { config, source, writer, tls, previous: found.previous }));
    let (event_loop, outbox) = EventLoop::new(EventLoopConfig {
        clock: SystemClock,
        system: Rc::clone(&system),
        executor: Rc::clone(executor),
        machine,
        scheduler,
        published: published.clone(),
        metrics: metrics.clone(),
        watchdog: service_manager::watchdog(),
        rng,
    });
    if reload_first {
        let _ = outbox.try_send(asked(SignalRequest::Reload));
    }
    forward_signals(executor, signals, outbox.clone());
    match api.and_then(|api| api.start(executor, published.clone(), metrics, outbox.clone())) {
        Ok((server, proof)) => system.serve(server, proof),
        Err(reason) => {
            tracing::error!(error = reason, "not started");
            let _ = outbox.try_send(LoopEvent::StartFailed(reason));
        }
    }
    let outcome = event_loop.run().await;
    let cause = published.get().lifecycle.cause().to_owned();
    tracing::info!(?outcome, cause, "ended");
    Ok(End { outcome, cause })
}

/// What the cadence needs of the configuration.
fn policy(config: &HeartbeatConfig) -> HeartbeatPolicy {
    HeartbeatPolicy {
        interval: config.interval,
        timeout: config.timeout,
        failure_threshold: config.failure_threshold,
        recovery_threshold: config.recovery_threshold,
    }
}

fn forward_signals(executor: &Rc<LocalExecutor<'static>>, signals: Receiver<SignalRequest>, outbox: Sender<LoopEvent>) {
    executor
        .spawn(async move {
            while let Ok(signal) = signals.recv().await {
                let _ = outbox.try_send(asked(signal));
            }
        })
        .detach();
}

fn asked(signal: SignalRequest) -> LoopEvent {
    match signal {
        SignalRequest::Stop(signal) => LoopEvent::StopRequested(signal.to_owned()),
        SignalRequest::Reload => LoopEvent::ReloadRequested(ReloadRequest { by: "SIGHUP".to_owned(), reply: None }),
    }
}
