//! The real event loop on a virtual clock: queued messages count before timers.

use std::collections::HashMap;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use ops_agent::testing::daemon::checks::{CheckLimits, CheckResult, HttpCheckResult, ScheduledCheck};
use ops_agent::testing::daemon::control::{ControlApi, HeartbeatSender, Peer};
use ops_agent::testing::daemon::effects::{
    Description, Effects, NotStarted, Notice, OutputError, ReloadError, Reloaded, Unproved,
};
use ops_agent::testing::daemon::event_loop::{EventLoop, EventLoopConfig};
use ops_agent::testing::daemon::hooks::HookFacts;
use ops_agent::testing::daemon::processes::{LogPosition, MainExit, NamedSignal, NewOutput};
use ops_agent::testing::daemon::registry::{AgentId, DesiredAgent, Proof, Registry, SavedRegistry};
use ops_agent::testing::daemon::store::SaveError;
use ops_protocol::heartbeat::ReceivedHeartbeat;
use ops_protocol::views::HooksView;
use ops_runtime::clock::Clock as _;
use smol::LocalExecutor;
use smol::channel::{Receiver, Sender};
use statemachine::supervision::{Exit, Identity, Policy, RestartWhen, State, StopSettings};

use crate::simulation::time::VirtualClock;

const SILENCE: Duration = Duration::from_secs(90);

/// A host on which every effect succeeds at once, and a process ends only when the test says so.
struct Calm {
    process: Identity,
    clock: VirtualClock,
    /// When the process ends.
    ends: Receiver<Duration>,
    /// Until when its endpoint answers. From then on, a check of it hangs.
    answers_until: Duration,
}

impl Effects for Calm {
    async fn save(self: Rc<Self>, _: SavedRegistry) -> Result<(), SaveError> {
        Ok(())
    }
    async fn spawn(self: Rc<Self>, _: AgentId) -> Result<Identity, NotStarted> {
        Ok(self.process)
    }
    async fn find(self: Rc<Self>, _: Unproved) -> Option<Identity> {
        pending().await
    }
    async fn main_exited(self: Rc<Self>, _: Identity) -> MainExit {
        match self.ends.recv().await {
            Ok(at) => self.clock.sleep_until(at).await,
            Err(_) => pending().await,
        }
        MainExit { exit: Exit::Code(1), left: 0 }
    }
    async fn emptied(self: Rc<Self>, _: Identity) {}
    async fn stop(self: Rc<Self>, _: Identity, _: StopSettings) -> Option<String> {
        panic!("told to end");
    }
    async fn kill(self: Rc<Self>, _: Identity) -> Option<String> {
        panic!("killed");
    }
    fn reap(&self, _: Identity) {}

    fn signal(&self, _: Identity, _: NamedSignal) -> std::io::Result<()> {
        Ok(())
    }

    fn prove(&self, main: Identity, pid: u32, _: &HeartbeatSender<'_>) -> Proof {
        if pid == main.pid { Proof::Proved } else { Proof::Nothing }
    }
    fn tree_of(&self, _: u32, _: &HeartbeatSender<'_>) -> Option<Identity> {
        None
    }
    async fn check(self: Rc<Self>, _: AgentId, _: Identity, check: ScheduledCheck) -> CheckResult {
        match check {
            ScheduledCheck::Http if self.clock.now().monotonic < self.answers_until => {
                CheckResult::Http(HttpCheckResult::Answered)
            }
            ScheduledCheck::Http
            | ScheduledCheck::Tcp
            | ScheduledCheck::Exec
            | ScheduledCheck::StatusFile
            | ScheduledCheck::Resources => pending().await,
        }
    }
    async fn last_output(self: Rc<Self>, _: AgentId, _: Identity, _: usize) -> Result<Vec<String>, OutputError> {
        Ok(Vec::new())
    }
    async fn logs(self: Rc<Self>, _: AgentId, _: usize) -> Result<Vec<String>, OutputError> {
        Ok(Vec::new())
    }
    async fn new_output(
        self: Rc<Self>,
        _: AgentId,
        next: Option<LogPosition>,
        _: usize,
    ) -> Result<NewOutput, OutputError> {
        Ok(NewOutput { lines: Vec::new(), skipped: false, next })
    }
    fn describe(&self, _: &str) -> Option<Description> {
        None
    }
    async fn reload(self: Rc<Self>) -> Result<Reloaded, ReloadError> {
        pending().await
    }
    fn hook(self: Rc<Self>, _: HookFacts) {}
    fn hooks(&self) -> Option<HooksView> {
        None
    }
    fn notify(&self, _: Notice<'_>) {}
}

/// One agent and the loop that supervises it.
struct Supervised<S> {
    clock: VirtualClock,
    executor: Rc<LocalExecutor<'static>>,
    shared_registry: Rc<S>,
    ends: Sender<Duration>,
    silence_ends: Duration,
}

const PID: u32 = 42;

/// A heartbeat of the agent arrives.
fn heartbeat(control: &impl ControlApi) {
    let text = format!(r#"{{"agent_id":"agent","pid":{PID},"status":"running","timestamp":"2025-12-05T10:00:00Z"}}"#);
    let sender = HeartbeatSender { secret: None, peer: Peer::Local };
    control.heartbeat(&ReceivedHeartbeat::from_json(text.as_bytes()).unwrap(), &sender).unwrap();
}

impl Supervised<()> {
    /// Just before the silence is too long.
    fn start() -> Supervised<impl ControlApi + 'static> {
        let limits = CheckLimits { cpu_percent: None, memory_bytes: None, ..CheckLimits::default() };
        let supervised = Self::begin(limits, Policy::default(), Duration::ZERO);
        heartbeat(&*supervised.shared_registry);
        supervised.settle();
        supervised.run_until(supervised.silence_ends);
        supervised
    }

    fn begin(limits: CheckLimits, policy: Policy, answers_for: Duration) -> Supervised<impl ControlApi + 'static> {
        let clock = VirtualClock::new();
        let executor = Rc::new(LocalExecutor::new());
        let boot = "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa".parse().unwrap();
        let id = AgentId::from("agent");
        let wanted = DesiredAgent { id, enabled: true, depends_on: Box::default(), policy, limits, fingerprint: 1 };
        let (ends, receiver) = smol::channel::unbounded();
        let process = Identity { pid: PID, start_ticks: 1, boot };
        let (driver, _outbox) = EventLoop::new(EventLoopConfig {
            clock: clock.clone(),
            system: Rc::new(Calm {
                process,
                clock: clock.clone(),
                ends: receiver,
                answers_until: clock.now().monotonic + answers_for,
            }),
            executor: Rc::clone(&executor),
            registry: Registry::open(clock.now(), boot, vec![wanted], None, &[]),
            found: HashMap::new(),
            unproved: Vec::new(),
            boot,
            watchdog: None,
        });
        let shared_registry = driver.shared_registry();
        executor.spawn(driver.run()).detach();
        let silence_ends = clock.now().monotonic + SILENCE;
        let supervised = Supervised { clock, executor, shared_registry, ends, silence_ends };
        supervised.settle();
        supervised
    }
}

impl<S> Supervised<S> {
    fn settle(&self) {
        while self.executor.try_tick() {}
    }

    /// Runs through every timer before this moment.
    fn run_until(&self, end: Duration) {
        while let Some(at) = self.clock.next_timer().filter(|at| *at < end) {
            self.clock.advance_to(at);
            self.settle();
        }
    }
}

// In both tests one wake-up fires two timers, and the loop's fires first.

#[test]
fn a_queued_heartbeat_counts_before_the_timeout_that_it_prevents() {
    let supervised = Supervised::start();
    let (reader, arrives) = (Rc::clone(&supervised.shared_registry), supervised.clock.clone());
    let silence_ends = supervised.silence_ends;
    supervised
        .executor
        .spawn(async move {
            arrives.sleep_until(silence_ends).await;
            heartbeat(&*reader);
        })
        .detach();
    supervised.settle();
    supervised.clock.advance_to(silence_ends);
    supervised.settle();
    let agent = supervised.shared_registry.agent("agent").unwrap();
    assert_eq!((agent.state, agent.heartbeats), (State::Running, 2), "{agent:?}");
}

#[test]
fn a_queued_exit_counts_before_the_timeout_of_the_same_moment() {
    let supervised = Supervised::start();
    supervised.ends.try_send(supervised.silence_ends).unwrap();
    supervised.settle();
    supervised.clock.advance_to(supervised.silence_ends);
    supervised.settle();
    let agent = supervised.shared_registry.agent("agent").unwrap();
    assert!(agent.history.iter().all(|moved| moved.to != State::Unhealthy), "{agent:?}");
    assert!(agent.history.iter().any(|moved| moved.to == State::Backoff), "{agent:?}");
}

#[test]
fn work_of_the_daemon_itself_is_no_stall() {
    let held_after = |works: Duration| {
        let supervised = Supervised::start();
        // A task beside the loop works before the deadline and after it, as the answer to a scrape may.
        let due = supervised.clock.next_timer().unwrap();
        supervised.clock.work(works);
        supervised.clock.advance_to(due + Duration::from_secs(3));
        supervised.settle();
        supervised.shared_registry.health().held
    };
    assert_eq!(held_after(Duration::ZERO).as_deref(), Some("the daemon itself stalled for 3.0 s"));
    assert_eq!(held_after(Duration::from_secs(3)), None);
    assert_eq!(held_after(Duration::from_secs(1)).as_deref(), Some("the daemon itself stalled for 2.0 s"));
}

#[test]
fn a_hang_of_the_endpoint_is_noticed_after_the_configured_failures() {
    let (second, tick) = (Duration::from_secs(1), Duration::from_millis(100));
    let noticed = |answers_for: Duration, http_timeout: Duration, http_failures: u32| {
        let limits = CheckLimits {
            interval: second,
            start_grace: Duration::ZERO,
            heartbeat_timeout: None,
            http: true,
            http_timeout,
            http_failures,
            cpu_percent: None,
            memory_bytes: None,
            ..CheckLimits::default()
        };
        let policy = Policy { when: RestartWhen::Never, ..Policy::default() };
        let supervised = Supervised::begin(limits, policy, answers_for);
        let hangs_at = supervised.clock.now().monotonic + answers_for;
        let state = || supervised.shared_registry.agent("agent").unwrap().state;
        supervised.run_until(hangs_at);
        assert_eq!(state(), State::Running);
        while state() == State::Running {
            supervised.clock.advance_to(supervised.clock.next_timer().unwrap());
            supervised.settle();
        }
        supervised.clock.now().monotonic - hangs_at
    };
    for phase in 0..20 {
        let answers_for = second * 10 + Duration::from_millis(53) * phase;
        let after = noticed(answers_for, second, 2);
        assert!(after >= second * 2 - tick && after <= second * 3 + tick, "1 s x 2: {after:?} after {answers_for:?}");
        let after = noticed(answers_for, second * 5, 3);
        assert!(after >= second * 15 - tick && after <= second * 16 + tick, "5 s x 3: {after:?} after {answers_for:?}");
        let after = noticed(answers_for, second / 2, 1);
        assert!(after >= second / 2 - tick && after <= second * 3 / 2 + tick, "0.5 s x 1: {after:?}");
    }
}
