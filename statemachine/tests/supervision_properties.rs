//! What must be true of one supervised agent's machine after any sequence of inputs.

use std::time::Duration;

use proptest::prelude::*;
use statemachine::supervision::{
    EXIT_CONFIG, Effect, Event, Exit, HISTORY, Identity, Input, Policy, RestartWhen, State, Supervised,
};

use crate::supervision::{Agent, at, condemned, process, restart, start, stop};

/// An input. Its process is the present one, or one of a few others.
fn input() -> impl Strategy<Value = fn(Identity) -> Input> {
    prop::sample::select(vec![
        (|_| start()) as fn(Identity) -> Input,
        |_| stop(),
        |_| restart(),
        |_| Input::SpecChanged(Policy::default()),
        |_| Input::SpecChanged(Policy { when: RestartWhen::OnFailure, max_retries: 2, ..Policy::default() }),
        Input::Spawned,
        Input::Spawned,
        Input::Spawned,
        Input::Adopted,
        |process| Input::Unkillable { process, left: "pid 7 (D)".to_owned() },
        |_| Input::Vanished,
        |_| Input::SpawnFailed { reason: "no such file".to_owned(), own_fault: false },
        |_| Input::SpawnFailed { reason: "too many open files".to_owned(), own_fault: true },
        |process| Input::Exited(process, Exit::Code(0)),
        |process| Input::MainGone { process, exit: Exit::Code(0), left: 1, daemonized: true },
        |process| Input::MainGone { process, exit: Exit::Code(1), left: 2, daemonized: false },
        |process| Input::Exited(process, Exit::Code(1)),
        |process| Input::Exited(process, Exit::Code(EXIT_CONFIG.into())),
        |process| Input::Exited(process, Exit::Signal(11)),
        |_| Input::DependencyReady,
        |_| Input::DependencyLost("db".to_owned()),
        |_| Input::FoundHealthy,
        |_| Input::FoundHealthy,
        |_| Input::FoundBad("frozen".to_owned()),
        |_| condemned("frozen"),
        |_| Input::TimePassed,
        |_| Input::TimePassed,
        |_| Input::TimePassed,
    ])
}

/// What must be true of a machine at every moment.
fn check_invariants(machine: &Supervised) -> Result<(), TestCaseError> {
    let state = machine.state();
    match state {
        State::Stopping | State::Backoff => prop_assert!(machine.deadline().is_some()),
        State::Running => prop_assert_eq!(machine.deadline().is_some(), machine.retries() > 0),
        State::Stopped | State::Waiting | State::Starting | State::Unhealthy | State::Failed => {
            prop_assert_eq!(machine.deadline(), None);
        }
    }
    prop_assert!(machine.process().is_none() || state.has_process());
    prop_assert!(state != State::Waiting || machine.missing().is_some());
    let may_have_remainder = matches!(state, State::Stopped | State::Failed) && machine.process().is_none();
    prop_assert!(machine.remainder().is_none() || may_have_remainder);
    let is_off = matches!(state, State::Stopping | State::Stopped) || state == State::Failed;
    prop_assert!(machine.wanted() || is_off);
    prop_assert!(state != State::Backoff && state != State::Failed || machine.reason().is_some());
    let by_reason: u64 = machine.restarts_by_reason().values().sum();
    prop_assert_eq!(by_reason, machine.restarts());
    prop_assert!(machine.history().len() <= HISTORY);
    prop_assert_eq!(machine.history().last().map_or(State::Stopped, |moved| moved.to), state);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn any_sequence_of_events_keeps_the_invariants(
        steps in prop::collection::vec((0_u64..40, 0_u32..3, input()), 0..100)
    ) {
        let mut now = Duration::ZERO;
        let mut machine = Supervised::new(at(now), Policy::default());
        for (seconds, pid, input) in steps {
            now += Duration::from_secs(seconds);
            let before = machine.clone();
            let input = input(match (pid, before.tree()) { (0, Some(own)) => own, _ => process(pid) });
            match machine.handle(at(now), input.clone()) {
                Ok(reaction) => {
                    prop_assert_eq!(reaction.transition.is_some(), machine.state() != before.state());
                    prop_assert!(before.save() == machine.save() || !reaction.effects.is_empty(), "{:?} unrecorded", input);
                    if reaction.effects.contains(&Effect::Spawn) {
                        prop_assert_eq!(before.tree(), None);
                        prop_assert_eq!(machine.missing(), None, "started before what it depends on");
                        prop_assert!(machine.wanted());
                    }
                    if !before.wanted() && machine.wanted() {
                        prop_assert!(matches!(input, Input::StartRequested(_) | Input::RestartRequested(_)));
                    }
                    if before.tree().is_some() && machine.tree() != before.tree() {
                        prop_assert!(matches!(input, Input::Exited(..) | Input::Vanished), "{:?} lost it", input);
                    }
                }
                Err(refused) => {
                    prop_assert_eq!(refused.state, before.state());
                    prop_assert_eq!(machine.refused(), before.refused() + 1);
                    prop_assert_eq!(machine.save(), before.save());
                }
            }
            check_invariants(&machine)?;
        }
    }

    #[test]
    fn restarts_keep_the_limit_and_the_waits_of_the_policy(
        max_retries in 0_u32..12,
        base in 1_u64..30,
        max in 1_u64..120,
        lives in prop::collection::vec(0_u64..299, 13),
    ) {
        let policy = Policy {
            when: RestartWhen::Always,
            max_retries,
            backoff_base: Duration::from_secs(base),
            backoff_max: Duration::from_secs(max),
            ..Policy::default()
        };
        let mut agent = Agent::running(policy);
        for (retry, life) in (0..).zip(lives) {
            agent.now += Duration::from_secs(life);
            let reaction = agent.exit(Exit::Code(1));
            if retry == max_retries {
                prop_assert_eq!(reaction.transition.map(|moved| moved.event), Some(Event::GaveUp));
                return Ok(());
            }
            prop_assert_eq!(agent.wait().0, policy.wait(retry));
            prop_assert!(policy.wait(retry) <= policy.backoff_max);
            agent.come_up();
        }
        prop_assert!(false, "it was never given up");
    }
}
