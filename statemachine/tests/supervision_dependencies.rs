//! A supervised agent that depends on others: its starts wait, and nothing else does.

use std::time::Duration;

use statemachine::supervision::{BootId, Effect, Exit, Input, Policy, State, Supervised};

use crate::supervision::{Agent, at, boot, process, restart, start, stop};

fn lost() -> Input {
    Input::DependencyLost("db".to_owned())
}

fn waiting() -> Agent {
    let mut agent = Agent::new(Policy::default());
    agent.input(lost());
    agent.input(start());
    assert_eq!(agent.machine.state(), State::Waiting);
    agent
}

#[test]
fn a_start_waits_for_what_it_depends_on() {
    let mut agent = waiting();
    assert!(agent.machine.cause().ends_with("; waits for db"), "{}", agent.machine.cause());
    assert!(agent.machine.wanted());
    let effects = agent.input(Input::DependencyReady).effects;
    assert_eq!((agent.machine.state(), effects), (State::Starting, [Effect::Record, Effect::Spawn].as_slice()));
    assert_eq!(agent.machine.restarts(), 0);
}

#[test]
fn what_is_ready_already_is_not_waited_for() {
    let mut agent = Agent::new(Policy::default());
    agent.input(lost());
    agent.input(Input::DependencyReady);
    agent.input(start());
    assert_eq!(agent.machine.state(), State::Starting);
}

#[test]
fn a_lost_dependency_does_not_touch_a_running_agent() {
    let mut agent = Agent::running(Policy::default());
    assert_eq!(agent.input(lost()).transition, None);
    assert_eq!(agent.machine.state(), State::Running);
    agent.input(Input::DependencyReady);
    assert_eq!(agent.machine.state(), State::Running);
}

#[test]
fn a_restart_after_a_death_waits_and_counts_once() {
    let mut agent = Agent::running(Policy::default());
    agent.input(lost());
    agent.exit(Exit::Code(1));
    assert_eq!(agent.machine.state(), State::Backoff);
    agent.now += Duration::from_secs(1);
    agent.input(Input::TimePassed);
    assert_eq!((agent.machine.state(), agent.machine.restarts()), (State::Waiting, 1));
    agent.input(Input::DependencyReady);
    assert_eq!((agent.machine.state(), agent.machine.restarts()), (State::Starting, 1));
    assert_eq!(agent.machine.retries(), 1, "the wait does not forget earlier failures");
}

#[test]
fn a_requested_restart_stops_at_once_and_starts_when_it_may() {
    let mut agent = Agent::running(Policy::default());
    agent.input(lost());
    agent.input(restart());
    assert_eq!(agent.machine.state(), State::Stopping);
    agent.exit(Exit::Code(0));
    agent.input(Input::TimePassed);
    assert_eq!(agent.machine.state(), State::Waiting);
}

#[test]
fn a_waiting_agent_can_be_stopped() {
    let mut agent = waiting();
    agent.input(stop());
    assert_eq!((agent.machine.state(), agent.machine.wanted()), (State::Stopped, false));
    agent.input(Input::DependencyReady);
    assert_eq!(agent.machine.state(), State::Stopped, "a stop is lasting");
}

#[test]
fn a_waiting_agent_waits_for_the_next_daemon_too() {
    let saved = waiting().machine.save();
    let restore = |boot_now: BootId| {
        Supervised::restore(at(Duration::from_secs(9)), Policy::default(), saved.clone(), boot_now, boot(1))
    };
    let mut machine = restore(boot(1));
    assert_eq!(machine.state(), State::Waiting);
    let reaction = machine.handle(at(Duration::from_secs(10)), Input::DependencyReady).unwrap();
    assert!(reaction.effects.contains(&Effect::Spawn));
    assert_eq!(restore(boot(2)).state(), State::Stopped, "after a reboot the daemon decides anew");
}

#[test]
fn a_signal_of_an_operator_is_named_with_the_exit() {
    let mut agent = Agent::running(Policy::default());
    agent.machine.set_signalled(9, "`signal` over the socket by root".to_owned());
    agent.exit(Exit::Signal(9));
    let cause = agent.machine.cause();
    assert!(cause.ends_with("sent by `signal` over the socket by root"), "{cause}");
    agent.now += Duration::from_secs(1);
    agent.input(Input::TimePassed);
    agent.input(Input::Spawned(process(200)));
    agent.exit(Exit::Signal(9));
    assert!(!agent.machine.cause().contains("sent by"), "it was for the process before: {}", agent.machine.cause());
}
