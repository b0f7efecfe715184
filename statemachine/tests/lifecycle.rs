//! The agent's machine.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use statemachine::lifecycle::{
    Effect, ExitKind, FaultName, HISTORY, Input, Lifecycle, Limits, Machine, Part, State, transition,
};
use statemachine::table::Table;
use statemachine::time::Now;
use strum::VariantArray;

use crate::reviewed::{assert_printable, assert_reviewed, cut_off_from};

const LIMITS: Limits =
    Limits { start: Duration::from_secs(30), grace: Duration::from_secs(10), refresh: Duration::from_secs(10) };

fn at(monotonic: Duration) -> Now {
    Now { monotonic, wall: SystemTime::UNIX_EPOCH + monotonic }
}

#[test]
fn every_cell_is_the_reviewed_one() {
    assert_reviewed::<Lifecycle>("lifecycle.ron");
    assert_printable::<Lifecycle>();
}

#[test]
fn stopped_is_reachable_from_every_state_and_final() {
    assert!(cut_off_from::<Lifecycle>(State::Stopped).is_empty());
    for &event in Lifecycle::EVENTS {
        assert_eq!(transition(State::Stopped, event).target(State::Stopped), State::Stopped, "{event:?}");
    }
}

#[test]
fn nothing_is_published_before_it_is_on_disk() {
    for &state in Lifecycle::STATES {
        for &event in Lifecycle::EVENTS {
            let cell = transition(state, event);
            let effects = cell.effects();
            let published = effects.iter().position(|effect| matches!(effect, Effect::Publish | Effect::Announce));
            let moves = cell.target(state) != state;
            assert_eq!(
                published.is_some() || moves,
                effects.first() == Some(&Effect::Persist),
                "{event:?} in {state:?}"
            );
        }
    }
}

#[test]
fn a_second_stop_request_stops_at_once() {
    let mut machine = Machine::new(at(Duration::ZERO), 1, 0, LIMITS);
    for _ in 0..2 {
        machine.handle(at(Duration::from_secs(1)), Input::StopRequested("SIGTERM".to_owned())).unwrap();
    }
    assert_eq!((machine.state(), machine.outcome()), (State::Stopped, Some(ExitKind::Forced)));
}

#[test]
fn a_start_that_takes_too_long_names_what_is_missing() {
    let mut machine = Machine::new(at(Duration::ZERO), 1, 0, LIMITS);
    machine.handle(at(Duration::ZERO), Input::PartProved(Part::Api)).unwrap();
    machine.handle(at(LIMITS.start), Input::TimePassed).unwrap();
    assert_eq!((machine.state(), machine.outcome()), (State::Stopped, Some(ExitKind::Failed)));
    assert_eq!(machine.cause(), "StatusFile, Probes did not start within 30s");
}

#[test]
fn a_raised_fault_keeps_its_start_time() {
    let mut machine = Machine::new(at(Duration::ZERO), 1, 0, LIMITS);
    for second in 1..4 {
        let input = Input::FaultRaised(FaultName::Http, format!("try {second}"));
        machine.handle(at(Duration::from_secs(second)), input).unwrap();
    }
    let (_, fault) = machine.faults().iter().next().unwrap();
    assert_eq!((fault.since, fault.detail.as_str()), (at(Duration::from_secs(1)), "try 1"));
}

fn running() -> Machine {
    let mut machine = Machine::new(at(Duration::ZERO), 1, 0, LIMITS);
    for part in Part::VARIANTS {
        machine.handle(at(Duration::ZERO), Input::PartProved(*part)).unwrap();
    }
    assert_eq!(machine.state(), State::Running);
    machine
}

#[test]
fn a_fault_lasts_until_it_is_cleared() {
    let mut machine = running();
    assert!(machine.faults().is_empty());
    machine.handle(at(Duration::ZERO), Input::FaultRaised(FaultName::Http, "seen".to_owned())).unwrap();
    assert!(machine.faults().contains(FaultName::Http) && !machine.faults().contains(FaultName::Heartbeat));
    assert!(!machine.faults().is_empty());
    let other = machine.handle(at(Duration::ZERO), Input::FaultCleared(FaultName::Heartbeat)).unwrap();
    assert_eq!((other.effects, machine.state()), ([].as_slice(), State::Degraded), "no such fault stands");
    machine.handle(at(Duration::ZERO), Input::FaultCleared(FaultName::Http)).unwrap();
    assert_eq!((machine.state(), machine.faults().is_empty()), (State::Running, true));
}

#[test]
fn a_write_begins_a_little_before_the_file_is_too_old() {
    // The lead is a twentieth of the interval, and at most 250 ms.
    for (refresh, due) in [(10_000, 9_750), (1_000, 950), (5_000, 4_750), (5_020, 4_770)] {
        let limits = Limits { refresh: Duration::from_millis(refresh), ..LIMITS };
        let mut machine = Machine::new(at(Duration::ZERO), 1, 0, limits);
        for part in Part::VARIANTS {
            machine.handle(at(Duration::ZERO), Input::PartProved(*part)).unwrap();
        }
        assert_eq!(machine.deadline(), Some(Duration::from_millis(due)), "{refresh} ms");
    }
}

#[test]
fn a_shorter_refresh_interval_counts_from_now_and_a_longer_one_from_the_next_write() {
    let mut machine = running();
    let before = machine.deadline().unwrap();
    machine.set_refresh(at(Duration::from_secs(1)), Duration::from_secs(2));
    assert_eq!(machine.deadline(), Some(Duration::from_millis(2_900)));
    machine.set_refresh(at(Duration::from_secs(1)), LIMITS.refresh * 100);
    assert_eq!(machine.deadline(), Some(Duration::from_millis(2_900)), "the next write is due as before");
    assert!(before > Duration::from_millis(2_900));
}

#[test]
fn the_history_keeps_the_newest_transitions() {
    let mut machine = running();
    for second in 0..100 {
        let now = at(Duration::from_secs(second));
        machine.handle(now, Input::FaultRaised(FaultName::Http, second.to_string())).unwrap();
        machine.handle(now, Input::FaultCleared(FaultName::Http)).unwrap();
    }
    assert_eq!(machine.history().len(), HISTORY);
    assert_eq!(machine.history().last().unwrap().at, at(Duration::from_secs(99)));
    assert_eq!(machine.history().next().unwrap().at, at(Duration::from_secs(100 - HISTORY as u64 / 2)));
}

fn input() -> impl Strategy<Value = Input> {
    let part = prop::sample::select(Part::VARIANTS);
    let fault = prop::sample::select(FaultName::VARIANTS);
    prop_oneof![
        6 => part.prop_map(Input::PartProved),
        1 => Just(Input::StartFailed("port taken".to_owned())),
        6 => fault.clone().prop_map(|name| Input::FaultRaised(name, "seen".to_owned())),
        6 => fault.prop_map(Input::FaultCleared),
        2 => Just(Input::ReloadRequested),
        2 => Just(Input::HeartbeatDue),
        1 => Just(Input::StopRequested("SIGTERM".to_owned())),
        1 => Just(Input::Drained),
        6 => Just(Input::TimePassed),
    ]
}

/// What must be true of a machine at every moment.
fn check_invariants(machine: &Machine) -> Result<(), TestCaseError> {
    let state = machine.state();
    if state.sends_heartbeats() {
        prop_assert_eq!(state == State::Degraded, !machine.faults().is_empty());
        prop_assert!(Part::VARIANTS.iter().all(|part| machine.has_proved(*part)));
    }
    prop_assert_eq!(machine.deadline().is_none(), state == State::Stopped);
    prop_assert_eq!(machine.outcome().is_some(), state == State::Stopped);
    prop_assert!(machine.history().len() <= HISTORY);
    let states: Vec<State> = machine.history().map(|moved| moved.to).collect();
    prop_assert!(
        machine
            .history()
            .skip(1)
            .map(|moved| moved.from)
            .eq(states.iter().copied().take(states.len().saturating_sub(1)))
    );
    prop_assert_eq!(states.last().copied().unwrap_or(State::Starting), state);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_sequence_of_events_keeps_the_invariants(steps in prop::collection::vec((0_u64..12_000, input()), 0..80)) {
        let mut now = Duration::ZERO;
        let mut machine = Machine::new(at(now), 7, 40, LIMITS);
        for (millis, input) in steps {
            now += Duration::from_millis(millis);
            let before = machine.clone();
            match machine.handle(at(now), input) {
                Ok(reaction) => {
                    let written = u64::from(reaction.effects.contains(&Effect::Persist));
                    prop_assert_eq!(machine.sequence(), before.sequence() + written);
                    prop_assert_eq!(reaction.transition.is_some(), machine.state() != before.state());
                    prop_assert!(written == 1 || machine.state() == before.state());
                    prop_assert_eq!(machine.refused(), before.refused());
                }
                Err(refused) => {
                    prop_assert_eq!(refused.state, before.state());
                    prop_assert_eq!(machine.refused(), before.refused() + 1);
                    prop_assert_eq!((machine.state(), machine.sequence()), (before.state(), before.sequence()));
                    prop_assert_eq!(machine.faults(), before.faults());
                    prop_assert_eq!(machine.deadline(), before.deadline());
                }
            }
            prop_assert_eq!(machine.incarnation(), 7);
            check_invariants(&machine)?;
        }
    }

    #[test]
    fn after_any_sequence_a_stop_ends_within_the_grace_period(
        steps in prop::collection::vec((0_u64..12_000, input()), 0..40)
    ) {
        let mut now = Duration::ZERO;
        let mut machine = Machine::new(at(now), 1, 0, LIMITS);
        for (millis, input) in steps {
            now += Duration::from_millis(millis);
            let _ = machine.handle(at(now), input);
        }
        let requested = now;
        if machine.state() != State::Stopping {
            machine.handle(at(now), Input::StopRequested("SIGTERM".to_owned())).unwrap();
        }
        while let Some(deadline) = machine.deadline() {
            prop_assert!(deadline <= requested + LIMITS.grace);
            now = now.max(deadline);
            machine.handle(at(now), Input::TimePassed).unwrap();
        }
        prop_assert_eq!(machine.state(), State::Stopped);
    }

    #[test]
    fn a_machine_that_handles_its_deadlines_keeps_the_file_fresh(refresh in 100_u64..60_000) {
        let refresh = Duration::from_millis(refresh);
        let mut machine = Machine::new(at(Duration::ZERO), 1, 0, Limits { refresh, ..LIMITS });
        for part in Part::VARIANTS {
            machine.handle(at(Duration::ZERO), Input::PartProved(*part)).unwrap();
        }
        let mut written = Duration::ZERO;
        for _ in 0..20 {
            let now = machine.deadline().unwrap();
            prop_assert!(now > written && now - written <= refresh);
            let reaction = machine.handle(at(now), Input::TimePassed).unwrap();
            prop_assert!(reaction.effects.contains(&Effect::Persist));
            written = now;
        }
    }
}
