//! Builds the agent from its configuration, runs it, and reports how it ended.

pub(crate) mod activation;
pub(crate) mod hooks;
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
use statemachine::lifecycle::{ExitKind, Limits, Machine};

use self::hooks::{Hooks, NoHooks};
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
use ops_runtime::causes::with_causes;
use ops_runtime::clock::{Clock as _, SystemClock};
use ops_runtime::executor;
use ops_runtime::orphans;
use ops_runtime::service_manager;
use ops_runtime::signals::{Handlers, SignalQueue, SignalRequest, StopSignal};

/// The limit from the start to the proof of the last required part. The set-up normally takes milliseconds.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The limit from the request to stop to the end of the drain. With the last write, a stop takes at most ten seconds.
pub(crate) const GRACE_PERIOD: Duration = Duration::from_secs(8);

/// How the agent ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The kind of the end.
    pub outcome: ExitKind,
    /// Why, for people.
    pub cause: String,
}

/// Runs the agent until it ends.
///
/// # Errors
///
/// [`StartError`] if the loop was not reached.
pub fn run(handlers: Handlers, source: ConfigSource) -> Result<End, StartError> {
    run_with(handlers, source, &NoHooks)
}

/// The same with hooks.
pub(crate) fn run_with(handlers: Handlers, source: ConfigSource, hooks: &impl Hooks) -> Result<End, StartError> {
    let executor = Rc::new(LocalExecutor::new());
    let main = async {
        let mut signals = handlers.listen(&executor);
        // As PID 1, or below a daemon, it becomes the parent of orphans.
        orphans::reap_in_background(&executor).map_err(StartError::Thread)?;
        let setup = async { SetupEnd::Done(blocking::unblock(move || Setup::begin(source)).await) };
        let setup = hooks.setup(setup);
        let stopped = async { SetupEnd::Stopped(hooks.stop(&mut signals).await) };
        let limit = SystemClock.now().monotonic + hooks.start_timeout();
        let expired = async {
            SystemClock.sleep_until(limit).await;
            SetupEnd::TooSlow
        };
        match setup.or(stopped).or(expired).await {
            SetupEnd::Done(setup) => live(setup.map_err(StartError::Thread)??, &executor, signals, hooks).await,
            SetupEnd::Stopped(signal) => {
                let cause = format!("{} during the set-up", signal.as_str());
                Ok(End { outcome: ExitKind::Clean, cause })
            }
            SetupEnd::TooSlow => Err(StartError::TooSlow(START_TIMEOUT)),
        }
    };
    executor::run(&executor, hooks.main(main))
}

/// How the set-up ended.
enum SetupEnd<T> {
    /// By itself, well or badly.
    Done(T),
    /// By a signal.
    Stopped(StopSignal),
    /// It reached its time limit.
    TooSlow,
}

async fn live<H: Hooks>(
    mut setup: Setup,
    executor: &Rc<LocalExecutor<'static>>,
    signals: SignalQueue,
    hooks: &H,
) -> Result<End, StartError> {
    hooks.adopt(&mut setup, executor)?;
    let Setup { config, source, writer, found, api, tls, token } = setup;
    let now = SystemClock.now();
    let limits = Limits { start: hooks.start_timeout(), grace: hooks.grace_period(), refresh: config.state.refresh };
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
    let metrics = AgentMetrics::new().map_err(StartError::Metrics)?;
    let mut rng = fastrand::Rng::new();
    let scheduler = config
        .heartbeat
        .as_ref()
        .map(|heartbeat| HeartbeatScheduler::new(policy(heartbeat), now.monotonic, rng.fork()));
    let previous = found.previous;
    let system = SystemEffects::new(SystemEffectsConfig { config, source, writer, tls, token, previous });
    let system = hooks.effects(system, executor);
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
    let outbox = hooks.outbox(executor, outbox);
    signals.forward(executor, outbox.clone(), loop_event);
    match api.and_then(|api| api.start(executor, published.clone(), metrics, outbox.clone())) {
        Ok((server, certificate)) => H::system(&system).serve(server, certificate),
        Err(error) => {
            let reason = with_causes(&error);
            tracing::error!(error = reason, "not started");
            let _ = outbox.try_send(LoopEvent::StartFailed(reason));
        }
    }
    let outcome = event_loop.run().await;
    let cause = published.get().lifecycle.cause().to_owned();
    tracing::info!(?outcome, cause, "ended");
    Ok(End { outcome, cause })
}

/// The scheduler's settings in the configuration.
fn policy(config: &HeartbeatConfig) -> HeartbeatPolicy {
    HeartbeatPolicy {
        interval: config.interval,
        timeout: config.timeout,
        failure_threshold: config.failure_threshold,
        recovery_threshold: config.recovery_threshold,
    }
}

fn loop_event(signal: SignalRequest) -> LoopEvent {
    match signal {
        SignalRequest::Stop(signal) => LoopEvent::StopRequested(signal.as_str().to_owned()),
        SignalRequest::Reload => LoopEvent::ReloadRequested(ReloadRequest { by: "SIGHUP".to_owned(), reply: None }),
    }
}
