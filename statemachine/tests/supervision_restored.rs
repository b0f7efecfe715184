//! The machine in the next daemon, and after a reboot.

use std::time::Duration;

use statemachine::supervision::{BootId, Effect, Exit, Input, Policy, RestartWhen, State, Supervised};

use crate::supervision::{Agent, at, boot, stop, stop_timeout};

#[test]
fn a_running_process_is_adopted_without_a_restart_and_checked_again() {
    let agent = Agent::running(Policy::default());
    let own = agent.machine.process().unwrap();
    let mut next = Agent { machine: restored(&agent, boot(1)), ..agent };
    let reaction = next.input(Input::Adopted(own));
    assert_eq!(reaction.effects, [Effect::Adopt, Effect::Record]);
    assert_eq!((next.machine.state(), next.machine.process()), (State::Starting, Some(own)));
    next.input(Input::FoundHealthy);
    assert_eq!((next.machine.state(), next.machine.restarts()), (State::Running, 0));
}

#[test]
fn an_agent_that_ended_while_no_daemon_ran_is_restarted_at_once() {
    let agent = Agent::running(Policy { when: RestartWhen::OnFailure, ..Policy::default() });
    let mut next = Agent { machine: restored(&agent, boot(1)), ..agent };
    next.input(Input::Vanished);
    let (waited, reaction) = next.wait();
    assert_eq!(waited, Duration::ZERO);
    assert!(reaction.effects.contains(&Effect::Spawn));
}

#[test]
fn the_next_daemon_finishes_a_requested_stop() {
    let mut agent = Agent::running(Policy::default());
    agent.input(stop());
    let own = agent.machine.process().unwrap();
    let mut next = Agent { machine: restored(&agent, boot(1)), ..agent };
    let reaction = next.input(Input::Adopted(own));
    assert!(reaction.effects.contains(&Effect::StopTree));
    let (waited, reaction) = next.wait();
    assert_eq!((waited, reaction.effects), (stop_timeout(), [Effect::KillTree].as_slice()));
    next.exit(Exit::Unseen);
    assert_eq!(next.machine.state(), State::Stopped);
}

#[test]
fn after_a_reboot_only_a_requested_stop_remains() {
    let mut agent = Agent::running(Policy::default());
    agent.exit(Exit::Code(1));
    let next = restored(&agent, boot(2));
    assert_eq!((next.state(), next.wanted(), next.process(), next.deadline()), (State::Stopped, true, None, None));
    agent.input(stop());
    assert!(!restored(&agent, boot(2)).wanted());
}

pub(crate) fn restored(agent: &Agent, present: BootId) -> Supervised {
    let policy = *agent.machine.policy();
    let saved = ron::from_str(&ron::to_string(&agent.machine.save()).unwrap()).unwrap();
    Supervised::restore(at(agent.now), policy, saved, present, boot(1))
}

#[test]
fn a_boot_id_has_the_format_of_the_kernel() {
    let text = "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa";
    assert_eq!(format!("{text}\n").parse::<BootId>().unwrap().to_string(), text);
    for bad in ["", "3f0f9c5e", "zf0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa", "+f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa"] {
        assert!(bad.parse::<BootId>().is_err(), "{bad}");
    }
}
