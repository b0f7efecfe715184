//! How one supervised agent's machine stops a process tree.

use std::time::Duration;

use statemachine::supervision::{
    EXIT_CONFIG, Effect, Exit, Input, Policy, Reaction, ReasonCode, RestartWhen, State, StopSettings,
};

use crate::supervision::{Agent, at, boot, condemned, process, restart, start, stop, stop_timeout};
use crate::supervision_restored::restored;

#[test]
fn a_stop_escalates_from_term_to_kill() {
    let mut agent = Agent::running(Policy::default());
    let reaction = agent.input(stop());
    assert_eq!(reaction.effects, [Effect::Record, Effect::StopTree]);
    for expected in [stop_timeout(), Duration::from_secs(15)] {
        let (waited, reaction) = agent.wait();
        assert_eq!((waited, reaction.effects), (expected, [Effect::KillTree].as_slice()));
    }
    agent.exit(Exit::Signal(9));
    assert_eq!((agent.machine.state(), agent.machine.deadline()), (State::Stopped, None));
    agent.input(Input::SpecChanged(Policy::default()));
    assert_eq!(agent.machine.state(), State::Stopped, "another configuration is no request to start");
    agent.input(start());
    assert_eq!(agent.machine.state(), State::Starting);
}

/// The main process ends, and two others of its tree are left.
fn main_gone(agent: &mut Agent, exit: Exit, daemonized: bool) -> Reaction {
    let process = agent.machine.process().unwrap();
    agent.input(Input::MainGone { process, exit, left: 2, daemonized })
}

#[test]
fn what_a_main_process_leaves_is_stopped_before_the_next_start() {
    let mut agent = Agent::running(Policy::default());
    let main = agent.machine.process();
    let reaction = main_gone(&mut agent, Exit::Code(1), false);
    assert_eq!(reaction.effects, [Effect::Record, Effect::StopTree]);
    assert_eq!((agent.machine.state(), agent.machine.process()), (State::Stopping, main));
    assert_eq!(agent.machine.cause(), "pid 101 exited with code 1 and left 2 processes, which are stopped");
    let (waited, reaction) = agent.wait();
    assert_eq!((waited, reaction.effects), (stop_timeout(), [Effect::KillTree].as_slice()));
    agent.exit(Exit::Unseen);
    assert_eq!(agent.machine.state(), State::Backoff);
    assert_eq!(agent.machine.cause(), "pid 101 exited with code 1", "the exit of the main process counts");
    assert_eq!(agent.wait().0, Duration::ZERO);
}

#[test]
fn the_exit_of_the_main_process_decides_what_follows_its_tree() {
    let policy = Policy { when: RestartWhen::OnFailure, ..Policy::default() };
    for (exit, expected) in [(0, State::Stopped), (1, State::Backoff), (i32::from(EXIT_CONFIG), State::Failed)] {
        let mut agent = Agent::running(policy);
        main_gone(&mut agent, Exit::Code(exit), false);
        // The daemon may die in between.
        agent.machine = restored(&agent, boot(1));
        agent.exit(Exit::Unseen);
        assert_eq!(agent.machine.state(), expected, "{exit}");
    }
}

#[test]
fn a_program_that_goes_to_the_background_is_not_started_again() {
    let mut agent = Agent::running(Policy::default());
    main_gone(&mut agent, Exit::Code(0), true);
    assert_eq!(agent.machine.state(), State::Stopping);
    agent.exit(Exit::Unseen);
    assert_eq!(agent.machine.state(), State::Failed);
    let cause = "pid 101 exited with code 0 and went to the background: run it in the foreground";
    assert_eq!(agent.machine.cause(), cause);
}

#[test]
fn a_requested_stop_waits_for_the_whole_tree_and_not_longer() {
    let mut agent = Agent::running(Policy::default());
    agent.input(stop());
    let due = agent.machine.deadline();
    agent.now += Duration::from_secs(1);
    assert_eq!(main_gone(&mut agent, Exit::Signal(15), false).effects, [Effect::Record]);
    assert_eq!((agent.machine.state(), agent.machine.deadline()), (State::Stopping, due));
    agent.exit(Exit::Unseen);
    assert_eq!(agent.machine.state(), State::Stopped);
    assert_eq!(agent.machine.cause(), "stopped: operator; pid 101 killed by signal 15");
}

#[test]
fn a_stop_during_a_start_stops_the_new_process() {
    let mut agent = Agent::new(Policy::default());
    agent.input(start());
    agent.input(stop());
    let reaction = agent.input(Input::Spawned(process(7)));
    assert!(reaction.effects.contains(&Effect::StopTree));
    agent.exit(Exit::Code(0));
    assert_eq!(agent.machine.state(), State::Stopped);
}

#[test]
fn the_last_request_counts_while_stopping() {
    for (inputs, end) in [
        (vec![stop(), start()], State::Backoff),
        (vec![stop(), start(), stop()], State::Stopped),
        (vec![], State::Backoff),
    ] {
        let mut agent = Agent::running(Policy::default());
        agent.input(restart());
        inputs.into_iter().for_each(|input| drop(agent.input(input)));
        agent.exit(Exit::Code(0));
        assert_eq!(agent.machine.state(), end);
    }
}

#[test]
fn an_agent_that_hangs_is_killed_sooner() {
    let stop_settings = StopSettings { timeout: Duration::from_secs(40), ..StopSettings::default() };
    for (hangs, timeout) in [(false, 40), (true, 5)] {
        let mut agent = Agent::running(Policy { stop: stop_settings, ..Policy::default() });
        agent.machine.set_hangs(hangs);
        agent.input(stop());
        let (waited, reaction) = agent.wait();
        assert_eq!((waited.as_secs(), reaction.effects), (timeout, [Effect::KillTree].as_slice()));
    }
    let shorter = StopSettings { timeout: Duration::from_secs(1), ..StopSettings::default() };
    assert_eq!(shorter.grace(true), shorter.timeout, "never later than without a hang");
}

/// An agent whose process does not end by SIGKILL.
fn unkillable() -> Agent {
    let mut agent = Agent::running(Policy::default());
    let main = agent.machine.process().unwrap();
    agent.input(Input::FoundBad("frozen".to_owned()));
    agent.input(condemned("frozen"));
    agent.wait();
    let reaction = agent.input(Input::Unkillable { process: main, left: "pid 101 (state D)".to_owned() });
    assert_eq!(reaction.effects, [Effect::Record]);
    agent
}

#[test]
fn what_sigkill_does_not_end_prevents_a_start_until_it_is_gone() {
    let mut agent = unkillable();
    let main = agent.machine.remainder().unwrap();
    assert_eq!((agent.machine.state(), agent.machine.process()), (State::Failed, None));
    assert_eq!(agent.machine.cause(), "SIGKILL does not end pid 101 (state D)");
    assert_eq!(agent.machine.reason().unwrap().reason.code, ReasonCode::Unkillable);
    for request in [start(), restart()] {
        assert!(agent.machine.handle(at(agent.now), request).is_err());
    }
    agent.input(Input::SpecChanged(Policy::default()));
    agent.input(stop());
    assert_eq!((agent.machine.state(), agent.machine.remainder()), (State::Stopped, Some(main)));
    let reaction = agent.input(Input::Exited(main, Exit::Signal(9)));
    assert_eq!((reaction.effects, agent.machine.remainder()), ([Effect::Reap, Effect::Record].as_slice(), None));
    assert!(agent.input(start()).effects.contains(&Effect::Spawn));
}

#[test]
fn the_next_daemon_watches_what_sigkill_does_not_end() {
    let agent = unkillable();
    let main = agent.machine.remainder().unwrap();
    let mut next = Agent { machine: restored(&agent, boot(1)), ..agent };
    assert_eq!(next.input(Input::Adopted(main)).effects, [Effect::Adopt, Effect::Record]);
    assert_eq!((next.machine.state(), next.machine.remainder()), (State::Failed, Some(main)));
    next.input(Input::Vanished);
    assert_eq!((next.machine.state(), next.machine.remainder()), (State::Failed, None));
    next.input(start());
    assert_eq!(next.machine.state(), State::Starting);
}

#[test]
fn a_late_report_of_what_was_killed_changes_nothing() {
    let mut agent = Agent::running(Policy::default());
    let main = agent.machine.process().unwrap();
    let report = || Input::Unkillable { process: main, left: "pid 101 (state D)".to_owned() };
    assert!(agent.input(report()).transition.is_none(), "it is not being stopped");
    agent.input(stop());
    agent.exit(Exit::Signal(9));
    assert!(agent.input(report()).transition.is_none());
    assert_eq!(agent.machine.state(), State::Stopped);
}
