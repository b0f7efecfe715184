//! The reasons that one supervised agent's machine records.

use std::collections::BTreeMap;
use std::time::Duration;

use statemachine::supervision::{Exit, ExitCodes, Input, Policy, ReasonCode, RestartWhen, State};

use crate::supervision::{Agent, boot, condemned, restart, start, stop};
use crate::supervision_restored::restored;

/// The code and the text of the recorded reason.
fn reason(agent: &Agent) -> (ReasonCode, &str) {
    let recorded = agent.machine.reason().unwrap();
    (recorded.reason.code, &recorded.reason.text)
}

fn unhealthy() -> Agent {
    let mut agent = Agent::running(Policy::default());
    agent.input(Input::FoundBad("status file frozen for 61 s".to_owned()));
    agent.now += Duration::from_secs(9);
    agent.input(condemned("status file frozen for 61 s"));
    agent
}

#[test]
fn a_verdict_stays_the_reason_until_the_next_end() {
    let mut agent = unhealthy();
    let verdict = (ReasonCode::StatusFile, "status file frozen for 61 s");
    assert_eq!(reason(&agent), verdict);
    agent.machine = restored(&agent, boot(1));
    agent.exit(Exit::Signal(15));
    assert_eq!(agent.machine.state(), State::Backoff);
    let cause = "status file frozen for 61 s; stopped by the daemon: pid 101 killed by signal 15";
    assert_eq!((reason(&agent), agent.machine.cause()), (verdict, cause));
    agent.wait();
    agent.come_up();
    assert_eq!(reason(&agent), verdict);
    assert_eq!(agent.machine.restarts_by_reason(), &BTreeMap::from([(ReasonCode::StatusFile, 1)]));
    let last = agent.machine.last_exit().unwrap();
    assert_eq!((last.process.pid, last.exit), (101, Exit::Signal(15)));
    agent.exit(Exit::Signal(11));
    assert_eq!(reason(&agent), (ReasonCode::Killed, "pid 102 killed by signal 11"));
}

#[test]
fn a_command_does_not_hide_the_verdict_that_it_follows() {
    let mut agent = unhealthy();
    agent.input(stop());
    agent.exit(Exit::Signal(9));
    assert_eq!(agent.machine.state(), State::Stopped);
    let text = "operator, while it was stopped for: status file frozen for 61 s";
    assert_eq!(reason(&agent), (ReasonCode::StopCommand, text));
    assert_eq!(agent.machine.cause(), format!("stopped: {text}; pid 101 killed by signal 9"));
}

#[test]
fn each_end_has_the_code_of_its_kind() {
    let code = |policy: Policy, exit| {
        let mut agent = Agent::running(policy);
        agent.exit(exit);
        reason(&agent).0
    };
    let policy = Policy { success_exit_codes: ExitCodes::of(&[0, 130]), ..Policy::default() };
    for (exit, expected) in [
        (Exit::Code(0), ReasonCode::ExitSuccess),
        (Exit::Code(130), ReasonCode::ExitSuccess),
        (Exit::Code(1), ReasonCode::ExitFailure),
        (Exit::Code(78), ReasonCode::ExitNoRestart),
        (Exit::Signal(9), ReasonCode::Killed),
        (Exit::Unseen, ReasonCode::Vanished),
    ] {
        assert_eq!(code(policy, exit), expected, "{exit}");
    }
    assert_eq!(code(Policy { max_retries: 0, ..policy }, Exit::Code(1)), ReasonCode::MaxRetries);
    let mut agent = Agent::new(policy);
    agent.input(start());
    agent.input(Input::SpawnFailed { reason: "no such file".to_owned(), own_fault: false });
    assert_eq!(reason(&agent), (ReasonCode::NotStarted, "could not be started: no such file"));
}

#[test]
fn a_requested_restart_names_the_command() {
    let mut agent = Agent::running(Policy::default());
    agent.input(restart());
    agent.exit(Exit::Code(0));
    assert_eq!(reason(&agent), (ReasonCode::RestartCommand, "operator"));
    assert_eq!(agent.machine.cause(), "operator; stopped by the daemon: pid 101 exited with code 0");
    agent.wait();
    agent.come_up();
    agent.input(Input::SpecChanged(Policy::default()));
    agent.exit(Exit::Code(0));
    agent.wait();
    assert_eq!(reason(&agent).0, ReasonCode::ConfigurationChanged);
    let expected = BTreeMap::from([(ReasonCode::RestartCommand, 1), (ReasonCode::ConfigurationChanged, 1)]);
    assert_eq!(agent.machine.restarts_by_reason(), &expected);
}

#[test]
fn the_configured_exit_codes_decide() {
    let policy = Policy {
        when: RestartWhen::OnFailure,
        success_exit_codes: ExitCodes::of(&[0, 3, 255]),
        no_restart_exit_codes: ExitCodes::of(&[2, 128]),
        ..Policy::default()
    };
    for (code, expected) in [
        (0, State::Stopped),
        (3, State::Stopped),
        (255, State::Stopped),
        (1, State::Backoff),
        (78, State::Backoff),
        (256, State::Backoff),
        (-1, State::Backoff),
        (2, State::Failed),
        (128, State::Failed),
    ] {
        let mut agent = Agent::running(policy);
        agent.exit(Exit::Code(code));
        assert_eq!(agent.machine.state(), expected, "{code}");
    }
}
