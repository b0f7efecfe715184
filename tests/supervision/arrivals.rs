//! The real event loop on a virtual clock: queued messages count before timers.

use std::collections::HashMap;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use ops_agent::testing::daemon::checks::CheckResult;
use ops_agent::testing::daemon::checks::{CheckLimits, ScheduledCheck};
use ops_agent::testing::daemon::control::ControlApi as _;
use ops_agent::testing::daemon::effects::{Effects, NotStarted, Notice, OutputError, ReloadError};
use ops_agent::testing::daemon::event_loop::{EventLoop, EventLoopConfig};
use ops_agent::testing::daemon::registry::{AgentId, DesiredAgent, HeartbeatFacts, Registry, SavedRegistry};
use ops_runtime::clock::Clock as _;
use smol::LocalExecutor;
use statemachine::supervision::{Exit, Identity, Policy, Signal, State};

use crate::simulation::time::VirtualClock;

const SILENCE: Duration = Duration::from_secs(90);

/// A host on which every effect succeeds at once, and no process ends.
struct Calm(Identity);

impl Effects for Calm {
    async fn save(self: Rc<Self>, _: SavedRegistry) -> Result<(), String> {
        Ok(())
    }
    async fn spawn(self: Rc<Self>, _: AgentId) -> Result<Identity, NotStarted> {
        Ok(self.0)
    }
    async fn ended(self: Rc<Self>, _: Identity) -> Exit {
        pending().await
    }
    fn signal(&self, _: Identity, signal: Signal) {
        panic!("told to end by {signal:?}");
    }
    async fn sweep(self: Rc<Self>, _: Identity) {}
    async fn check(self: Rc<Self>, _: AgentId, _: Identity, _: ScheduledCheck) -> CheckResult {
        pending().await
    }
    async fn last_output(self: Rc<Self>, _: AgentId, _: usize) -> Result<Vec<String>, OutputError> {
        Ok(Vec::new())
    }
    async fn logs(self: Rc<Self>, _: AgentId, _: usize) -> Result<Vec<String>, OutputError> {
        Ok(Vec::new())
    }
    fn endpoint(&self, _: &str) -> Option<String> {
        None
    }
    async fn reload(self: Rc<Self>) -> Result<Vec<DesiredAgent>, ReloadError> {
        pending().await
    }
    fn notify(&self, _: Notice<'_>) {}
}

#[test]
fn a_queued_heartbeat_counts_before_the_timeout_that_it_prevents() {
    let clock = VirtualClock::new();
    let executor = Rc::new(LocalExecutor::new());
    let boot = "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa".parse().unwrap();
    let limits = CheckLimits { cpu_percent: None, memory_bytes: None, ..CheckLimits::default() };
    let id = AgentId::from("agent");
    let wanted = DesiredAgent { id, enabled: true, policy: Policy::default(), limits, fingerprint: 1 };
    let (driver, _outbox) = EventLoop::new(EventLoopConfig {
        clock: clock.clone(),
        system: Rc::new(Calm(Identity { pid: 42, start_ticks: 1, boot })),
        executor: Rc::clone(&executor),
        registry: Registry::open(clock.now(), boot, vec![wanted], None),
        found: HashMap::new(),
        boot,
        watchdog: None,
    });
    let shared_registry = driver.shared_registry();
    let settle = || while executor.try_tick() {};
    executor.spawn(driver.run()).detach();
    settle();
    let heartbeat = HeartbeatFacts { pid: 42, incarnation: Some(1), degraded: false };
    shared_registry.heartbeat(Some("agent"), &heartbeat).unwrap();
    settle();
    let silence_ends = clock.now().monotonic + SILENCE;
    while let Some(at) = clock.next_timer().filter(|at| *at < silence_ends) {
        clock.advance_to(at);
        settle();
    }
    // One wake-up fires both timers, the loop's first.
    let (reader, arrives) = (Rc::clone(&shared_registry), clock.clone());
    executor
        .spawn(async move {
            arrives.sleep_until(silence_ends).await;
            reader.heartbeat(Some("agent"), &heartbeat).unwrap();
        })
        .detach();
    settle();
    clock.advance_to(silence_ends);
    settle();
    let agent = shared_registry.agent("agent").unwrap();
    assert_eq!((agent.state, agent.heartbeats), (State::Running, 2), "{agent:?}");
}
