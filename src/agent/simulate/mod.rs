//! An agent that misbehaves by a plan, for the trial of supervisors. Only `agent run --simulate PLAN` turns it on.
//!
//! [`Plan`](plan::Plan) says what goes wrong and when. Each act is one type in [`acts`], with what it does. A thread begins and
//! ends the steps ([`steps`]). The agent's own parts are not changed: [`Simulation`] is an implementation of the
//! [`Hooks`] around them, and asks for each write, heartbeat, request and event whether an act in progress concerns it. The
//! [`evidence`] log says what the agent did.

pub(crate) mod acts;
pub(crate) mod child;
mod effects;
pub(crate) mod evidence;
mod front;
mod gate;
pub(crate) mod plan;
mod signals;
mod state;
mod steps;
pub(crate) mod values;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smol::LocalExecutor;
use smol::channel::Sender;

use self::acts::Fate;
use self::effects::SimulatedEffects;
use self::evidence::EvidenceEvent;
use self::plan::Plan;
pub(crate) use self::state::Simulation;
use crate::agent::app::hooks::Hooks;
use crate::agent::app::setup::Setup;
use crate::agent::app::system_effects::SystemEffects;
use crate::agent::app::{GRACE_PERIOD, START_TIMEOUT, StartError};
use crate::agent::event_loop::LoopEvent;
use ops_config::agent::AgentConfig;
use ops_runtime::signals::{SignalQueue, StopSignal};

/// Longer than any simulated start.
const NO_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

static IS_ACTIVE: AtomicBool = AtomicBool::new(false);

/// Whether this process is a simulated agent.
pub(crate) fn is_active() -> bool {
    IS_ACTIVE.load(Ordering::Relaxed)
}

/// Notes the start in the evidence, and begins the steps that are due at once. Blocks on the disk.
///
/// # Errors
///
/// The evidence cannot be written, or the system refuses a thread.
pub(crate) fn begin(plan: Plan) -> io::Result<Simulation> {
    IS_ACTIVE.store(true, Ordering::Relaxed);
    let simulation = Simulation::new(plan)?;
    simulation.watched_by(signals::watch(simulation.clone())?);
    steps::begin(simulation.clone())?;
    Ok(simulation)
}

impl Simulation {
    /// Notes the exit code with which the process is about to exit, after the signals that have arrived.
    pub(crate) fn note_exit(&self, code: u8) {
        self.flush_signals();
        self.note(EvidenceEvent::Exit { code });
    }
}

impl Hooks for Simulation {
    type Effects = SimulatedEffects;

    fn main<T>(&self, main: impl Future<Output = T>) -> impl Future<Output = T> {
        gate::gate(self.clone(), main)
    }

    async fn setup<T>(&self, setup: impl Future<Output = T>) -> T {
        self.until(|acts| !acts.iter().any(|act| act.behaviour().delays_setup())).await;
        setup.await
    }

    fn start_timeout(&self) -> Duration {
        let slow = |act: &acts::Act| act.behaviour().delays_start();
        if self.planned().any(|step| slow(&step.act)) { NO_TIMEOUT } else { START_TIMEOUT }
    }

    fn grace_period(&self) -> Duration {
        let longest = self.planned().map(|step| step.act.behaviour().drain_delay()).max();
        GRACE_PERIOD + longest.unwrap_or_default()
    }

    async fn stop(&self, signals: &mut SignalQueue) -> StopSignal {
        loop {
            let signal = signals.stop().await;
            if self.fate(&LoopEvent::StopRequested(signal.as_str().to_owned())) == Fate::Passes {
                return signal;
            }
        }
    }

    fn adopt(&self, setup: &mut Setup, executor: &Rc<LocalExecutor<'static>>) -> Result<(), StartError> {
        if let Some(key) = uses_tls(&setup.config) {
            let text = format!("`{key}` uses TLS, and a simulated agent has none: configure plain HTTP");
            return Err(StartError::Simulation(io::Error::other(text)));
        }
        tracing::warn!(life = self.life(), evidence = %self.evidence_path().display(), "simulated: this agent misbehaves by a plan");
        if let Ok(api) = &mut setup.api {
            // The front takes the configured address, and the API a free port.
            let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(StartError::Simulation)?;
            let upstream = own.local_addr().map_err(StartError::Simulation)?;
            let listener = api.replace_listener(own);
            self.share_listener(&listener);
            front::start(self, executor, listener, upstream).map_err(StartError::Simulation)?;
        }
        Ok(())
    }

    fn effects(&self, system: SystemEffects, executor: &Rc<LocalExecutor<'static>>) -> Rc<SimulatedEffects> {
        SimulatedEffects::start(Rc::new(system), self.clone(), executor)
    }

    fn system(effects: &Rc<SimulatedEffects>) -> &SystemEffects {
        effects.system()
    }

    fn outbox(&self, executor: &Rc<LocalExecutor<'static>>, outbox: Sender<LoopEvent>) -> Sender<LoopEvent> {
        self.share_outbox(outbox.clone());
        let (sender, events) = smol::channel::unbounded();
        let simulation = self.clone();
        executor.spawn(async move { simulation.filter(events, outbox).await }).detach();
        sender
    }
}

/// The key that turns TLS on, if there is one.
fn uses_tls(config: &AgentConfig) -> Option<&'static str> {
    if config.http.tls.is_some() {
        return Some("http.tls");
    }
    config.heartbeat.as_ref().and_then(|heartbeat| heartbeat.secure()).map(|_| "heartbeat.url")
}

#[cfg(test)]
mod tests {
    use super::acts::{NeverReady, SlowStop};
    use super::plan::Step;
    use super::*;

    #[test]
    fn the_limits_of_start_and_stop_follow_the_plan() {
        let directory = tempfile::tempdir().unwrap();
        let simulation =
            |steps: Vec<Step>| Simulation::new(Plan { evidence: directory.path().join("evidence"), steps }).unwrap();
        let first = simulation(vec![Step::new(NeverReady {}), Step::new(SlowStop { takes: GRACE_PERIOD })]);
        assert_eq!((first.start_timeout(), first.grace_period()), (NO_TIMEOUT, 2 * GRACE_PERIOD));
        let second = simulation(vec![Step::new(NeverReady {}), Step::new(SlowStop { takes: GRACE_PERIOD })]);
        assert_eq!(
            (second.start_timeout(), second.grace_period()),
            (START_TIMEOUT, GRACE_PERIOD),
            "it is not of this life"
        );
    }
}
