//! One supervised agent's machine.

use std::time::{Duration, SystemTime};

use statemachine::supervision::{
    BootId, EXIT_CONFIG, Effect, Exit, HISTORY, Identity, Input, Policy, Reaction, Reason, ReasonCode, RestartWhen,
    State, Supervised, Supervision, transition,
};
use statemachine::table::Table;
use statemachine::time::Now;

use crate::reviewed::{assert_printable, assert_reviewed, cut_off_from};

pub(crate) fn at(monotonic: Duration) -> Now {
    Now { monotonic, wall: SystemTime::UNIX_EPOCH + monotonic }
}

pub(crate) fn boot(n: u8) -> BootId {
    format!("{n:032x}").parse().unwrap()
}

pub(crate) fn process(pid: u32) -> Identity {
    Identity { pid, start_ticks: 1000 + u64::from(pid), boot: boot(1) }
}

pub(crate) fn start() -> Input {
    Input::StartRequested(Reason::new(ReasonCode::StartCommand, "operator"))
}

pub(crate) fn stop() -> Input {
    Input::StopRequested(Reason::new(ReasonCode::StopCommand, "operator"))
}

pub(crate) fn restart() -> Input {
    Input::RestartRequested(Reason::new(ReasonCode::RestartCommand, "operator"))
}

pub(crate) fn condemned(why: &str) -> Input {
    Input::Condemned(Reason::new(ReasonCode::StatusFile, why))
}

/// The time from the stop signal to SIGKILL by default.
pub(crate) fn stop_timeout() -> Duration {
    Policy::default().stop.timeout
}

/// A machine with a clock that the test sets.
pub(crate) struct Agent {
    pub(crate) machine: Supervised,
    pub(crate) now: Duration,
    pub(crate) next_pid: u32,
}

impl Agent {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { machine: Supervised::new(at(Duration::ZERO), policy), now: Duration::ZERO, next_pid: 100 }
    }

    pub(crate) fn running(policy: Policy) -> Self {
        let mut agent = Self::new(policy);
        agent.input(start());
        agent.come_up();
        agent
    }

    pub(crate) fn input(&mut self, input: Input) -> Reaction {
        self.machine.handle(at(self.now), input).unwrap()
    }

    /// The process starts, and proves that it works.
    pub(crate) fn come_up(&mut self) {
        self.next_pid += 1;
        self.input(Input::Spawned(process(self.next_pid)));
        self.input(Input::FoundHealthy);
        assert_eq!(self.machine.state(), State::Running);
    }

    pub(crate) fn exit(&mut self, exit: Exit) -> Reaction {
        let process = self.machine.process().unwrap();
        self.input(Input::Exited(process, exit))
    }

    /// Advances the time to the machine's deadline, and returns how long that took.
    pub(crate) fn wait(&mut self) -> (Duration, Reaction) {
        let deadline = self.machine.deadline().unwrap();
        let waited = deadline - self.now;
        self.now = deadline;
        (waited, self.input(Input::TimePassed))
    }
}

#[test]
fn every_cell_is_the_reviewed_one() {
    assert_reviewed::<Supervision>("supervision.ron");
    assert_printable::<Supervision>();
}

#[test]
fn every_state_can_be_reached_from_every_other() {
    for &state in Supervision::STATES {
        assert!(cut_off_from::<Supervision>(state).is_empty(), "{state:?}");
    }
}

#[test]
fn no_process_is_spawned_while_another_may_exist() {
    for &state in Supervision::STATES {
        for &event in Supervision::EVENTS {
            let cell = transition(state, event);
            if cell.effects().contains(&Effect::Spawn) {
                assert!(!state.has_process(), "{event:?} in {state:?}");
                assert_eq!(cell.target(state), State::Starting);
            }
        }
    }
}

#[test]
fn every_change_is_recorded_before_irreversible_effects() {
    for &state in Supervision::STATES {
        for &event in Supervision::EVENTS {
            let cell = transition(state, event);
            let place = |wanted: &[Effect]| cell.effects().iter().position(|effect| wanted.contains(effect));
            let recorded = place(&[Effect::Record]);
            assert!(cell.target(state) == state || recorded.is_some(), "{event:?} in {state:?}");
            if let Some(done) = place(&[Effect::Spawn, Effect::StopTree]) {
                assert!(recorded.is_some_and(|recorded| recorded < done), "{event:?} in {state:?}");
            }
        }
    }
}

#[test]
fn the_first_restart_is_immediate_and_later_ones_wait_longer() {
    let mut agent = Agent::running(Policy::default());
    let mut waits = Vec::new();
    for _ in 0..10 {
        agent.exit(Exit::Signal(9));
        assert_eq!(agent.machine.state(), State::Backoff);
        let (waited, reaction) = agent.wait();
        assert!(reaction.effects.contains(&Effect::Spawn));
        waits.push(waited.as_secs());
        agent.come_up();
    }
    assert_eq!(waits, [0, 10, 10, 30, 30, 60, 60, 60, 60, 60]);
    agent.exit(Exit::Signal(9));
    assert_eq!(agent.machine.state(), State::Failed);
    assert_eq!(agent.machine.cause(), "pid 111 killed by signal 9, after 10 restarts in a row");
    assert_eq!(agent.machine.deadline(), None);
    assert_eq!(agent.machine.restarts(), 10);
}

#[test]
fn five_minutes_of_health_reset_the_retries() {
    let mut agent = Agent::running(Policy::default());
    for _ in 0..3 {
        agent.exit(Exit::Code(1));
        agent.wait();
        agent.come_up();
    }
    let stable_after = Policy::default().stable_after;
    agent.now += stable_after / 2;
    agent.input(Input::FoundBad("HTTP does not answer".to_owned()));
    agent.now += stable_after;
    agent.input(Input::FoundHealthy);
    assert_eq!(agent.machine.retries(), 3, "time in Unhealthy is no health");
    let (waited, _) = agent.wait();
    assert_eq!((waited, agent.machine.retries(), agent.machine.deadline()), (stable_after, 0, None));
}

#[test]
fn the_history_keeps_the_newest_transitions() {
    let mut agent = Agent::running(Policy::default());
    for second in 0..100 {
        agent.now = Duration::from_secs(second);
        agent.input(Input::FoundBad("frozen".to_owned()));
        agent.input(Input::FoundHealthy);
    }
    let times: Vec<u64> = agent.machine.history().map(|moved| moved.at.monotonic.as_secs()).collect();
    assert_eq!((times.len(), times[0], times[HISTORY - 1]), (HISTORY, 100 - HISTORY as u64 / 2, 99));
}

#[test]
fn a_bad_configuration_is_not_retried() {
    for when in [RestartWhen::Always, RestartWhen::OnFailure, RestartWhen::Never] {
        let mut agent = Agent::running(Policy { when, ..Policy::default() });
        agent.exit(Exit::Code(EXIT_CONFIG.into()));
        assert_eq!(agent.machine.state(), State::Failed, "{when:?}");
        agent.input(start());
        assert_eq!((agent.machine.state(), agent.machine.retries()), (State::Starting, 0));
    }
}

#[test]
fn the_policy_decides_what_follows_an_exit() {
    use State::{Backoff, Stopped};
    let ends = |when, exit| {
        let mut agent = Agent::running(Policy { when, ..Policy::default() });
        agent.exit(exit);
        agent.machine.state()
    };
    for (exit, always, on_failure, never) in [
        (Exit::Code(0), Backoff, Stopped, Stopped),
        (Exit::Code(1), Backoff, Backoff, Stopped),
        (Exit::Signal(15), Backoff, Backoff, Stopped),
        (Exit::Unseen, Backoff, Backoff, Stopped),
    ] {
        let seen = [RestartWhen::Always, RestartWhen::OnFailure, RestartWhen::Never].map(|when| ends(when, exit));
        assert_eq!(seen, [always, on_failure, never], "{exit}");
    }
}

#[test]
fn a_condemned_process_is_restarted_even_if_it_exits_cleanly() {
    let mut agent = Agent::running(Policy { when: RestartWhen::OnFailure, ..Policy::default() });
    agent.input(Input::FoundBad("status file frozen".to_owned()));
    let reaction = agent.input(condemned("status file frozen"));
    assert!(reaction.effects.contains(&Effect::StopTree));
    agent.exit(Exit::Code(0));
    assert_eq!((agent.machine.state(), agent.machine.retries()), (State::Backoff, 1));
}

#[test]
fn a_requested_restart_has_no_wait_and_is_not_counted() {
    for input in [restart(), Input::SpecChanged(Policy::default())] {
        let mut agent = Agent::running(Policy { when: RestartWhen::Never, max_retries: 0, ..Policy::default() });
        agent.input(input);
        agent.exit(Exit::Code(0));
        let (waited, reaction) = agent.wait();
        assert_eq!((waited, agent.machine.retries()), (Duration::ZERO, 0));
        assert!(reaction.effects.contains(&Effect::Spawn));
    }
}

#[test]
fn a_start_that_fails_for_lack_of_resources_of_the_daemon_is_not_counted() {
    let mut agent = Agent::new(Policy { max_retries: 1, ..Policy::default() });
    agent.input(start());
    for _ in 0..20 {
        agent.input(Input::SpawnFailed { reason: "too many open files".to_owned(), own_fault: true });
        assert_eq!(agent.wait().0, Duration::from_secs(10));
    }
    for state in [State::Backoff, State::Failed] {
        agent.input(Input::SpawnFailed { reason: "no such file".to_owned(), own_fault: false });
        assert_eq!(agent.machine.state(), state);
        if state == State::Backoff {
            agent.wait();
        }
    }
}

#[test]
fn inputs_about_another_process_change_nothing() {
    let mut agent = Agent::running(Policy::default());
    let before = agent.machine.clone();
    let own = before.process().unwrap();
    for other in [
        Identity { pid: own.pid + 1, ..own },
        Identity { start_ticks: own.start_ticks + 1, ..own },
        Identity { boot: boot(2), ..own },
    ] {
        agent.input(Input::Exited(other, Exit::Code(0)));
        assert_eq!(agent.machine, before);
        assert!(agent.machine.handle(at(agent.now), Input::Adopted(other)).is_err());
        agent.machine = before.clone();
    }
}
