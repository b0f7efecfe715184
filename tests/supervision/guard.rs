//! When restarts that follow from a verdict are held: the registry with its guard, in virtual time.

use std::time::Duration;

use ops_agent::testing::daemon::checks::{CheckLimits, CheckResult, OpenFiles, StatusFacts, StatusFileResult, Usage};
use ops_agent::testing::daemon::restart_guard::HoldReason;
use statemachine::supervision::{Exit, Input, Reason, ReasonCode, RestartWhen, State};

use super::fleet::{Fleet, SECOND, at, heartbeats_only, process};

#[test]
fn ten_agents_that_fall_silent_together_are_held_before_the_first_restart() {
    let mut fleet = Fleet::start(10, &heartbeats_only());
    // Their last heartbeats are spread over an interval of 30 s.
    for n in 0..10 {
        fleet.heartbeat(100 + 3 * u64::try_from(n).unwrap(), n, false);
    }
    fleet.pass(SECOND * 220);
    let hold = fleet.hold.expect("restarts are held");
    assert_eq!(hold.reason, HoldReason::MassFailure { bad: 10, of: 10 });
    assert_eq!(hold.since, SECOND * 191, "the first verdict came at 190 s, and was collected for 1 s");
    assert_eq!(fleet.condemned, [None; 10]);
    let again = hold.since + SECOND * 30;
    fleet.pass(again);
    let bad = (100..).step_by(3).take(10).filter(|last| SECOND * (last + 90) <= again).count();
    assert_eq!(fleet.condemned.iter().filter(|at| **at == Some(again)).count(), bad, "looked at again");
    assert_eq!(bad, 10);
    fleet.pass(SECOND * 400);
    assert_eq!(fleet.hold, Some(hold), "one failure of the host holds restarts once");
}

#[test]
fn agents_that_recover_during_the_hold_are_not_restarted() {
    let mut fleet = Fleet::start(5, &heartbeats_only());
    fleet.pass(SECOND * 101);
    assert_eq!(fleet.held(), Some(HoldReason::MassFailure { bad: 5, of: 5 }));
    for n in 0..4 {
        fleet.heartbeat(110, n, false);
    }
    fleet.pass(SECOND * 140);
    assert_eq!(fleet.condemned, [None, None, None, None, Some(SECOND * 131)], "still silent");
}

#[test]
fn the_verdict_on_one_agent_waits_for_one_second() {
    let mut fleet = Fleet::start(4, &heartbeats_only());
    for seconds in (30..=180).step_by(30) {
        (1..4).for_each(|n| fleet.heartbeat(seconds, n, false));
        fleet.pass(SECOND * u32::try_from(seconds).unwrap() + SECOND * 29);
    }
    assert_eq!((fleet.condemned[0], fleet.held()), (Some(SECOND * 101), None));
    assert_eq!(fleet.condemned[1..], [None; 3]);
}

#[test]
fn a_heartbeat_while_verdicts_are_collected_prevents_the_restart() {
    let mut fleet = Fleet::start(4, &heartbeats_only());
    (1..4).for_each(|n| fleet.heartbeat(60, n, false));
    fleet.pass(SECOND * 100);
    assert_eq!(fleet.states()[0], State::Unhealthy, "the verdict is known at once");
    fleet.heartbeat(100, 0, false);
    fleet.pass(SECOND * 102);
    assert_eq!((fleet.condemned[0], fleet.states()[0]), (None, State::Running));
}

#[test]
fn a_stall_while_verdicts_are_collected_voids_them() {
    let mut fleet = Fleet::start(4, &heartbeats_only());
    (1..4).for_each(|n| fleet.heartbeat(60, n, false));
    fleet.pass(SECOND * 100);
    let stall = fleet.registry.on_wakeup(at(110), at(110).monotonic, |_| Duration::ZERO).unwrap();
    assert!(matches!(stall.reason, HoldReason::Stalled(_)), "{stall:?}");
    // By now all four are late, but only because the daemon has not read their heartbeats.
    let decisions = fleet.registry.expire(at(110));
    fleet.take(at(110), decisions);
    assert_eq!(fleet.hold, None);
    (1..4).for_each(|n| fleet.heartbeat(111, n, false));
    fleet.pass(SECOND * 141);
    assert_eq!((fleet.hold, fleet.condemned[0]), (None, Some(SECOND * 141)), "held, looked at again, and collected");
}

/// The hold after agent 0 has been silent for too long, and `late` more of six agents for 46 s, which is more than half of 90 s.
fn hold_with_late(late: usize) -> Option<HoldReason> {
    let mut fleet = Fleet::start(6, &heartbeats_only());
    (1..=late).for_each(|n| fleet.heartbeat(55, n, false));
    (late + 1..6).for_each(|n| fleet.heartbeat(56, n, false));
    fleet.pass(SECOND * 101);
    fleet.held()
}

#[test]
fn a_silence_of_more_than_half_of_the_timeout_counts() {
    assert_eq!(hold_with_late(2), None, "three of six");
    assert_eq!(hold_with_late(3), Some(HoldReason::MassFailure { bad: 4, of: 6 }));
}

#[test]
fn a_degraded_agent_does_not_count() {
    let mut fleet = Fleet::start(10, &heartbeats_only());
    for seconds in [40, 70, 99] {
        (1..10).for_each(|n| fleet.heartbeat(seconds, n, true));
        fleet.pass(SECOND * u32::try_from(seconds).unwrap());
    }
    assert_eq!(fleet.states(), [[State::Running; 1].as_slice(), &[State::Unhealthy; 9]].concat());
    fleet.pass(SECOND * 101);
    assert_eq!((fleet.condemned[0], fleet.held()), (Some(SECOND * 101), None));
}

#[test]
fn a_status_file_that_was_late_at_the_last_look_counts() {
    let limits = CheckLimits { state_max_age: Some(SECOND * 60), heartbeat_timeout: None, ..heartbeats_only() };
    let hold_with = |age: u64, valid_for: Option<Duration>, not_read: bool| {
        let mut fleet = Fleet::start(3, &limits);
        let facts =
            |age| StatusFacts { mark: 1, age: Some(SECOND * age), ahead: None, valid_for, pid: None, degraded: None };
        for n in 0..3 {
            let age = if n == 0 { 61 } else { u32::try_from(age).unwrap() };
            fleet.checked(90, n, CheckResult::StatusFile(StatusFileResult::Read(facts(age))));
            if n > 0 && not_read {
                let hangs = StatusFileResult::NotRead("the disk hangs".to_owned());
                fleet.checked(90, n, CheckResult::StatusFile(hangs));
            }
        }
        fleet.pass(SECOND * 91);
        fleet.held()
    };
    let mass = Some(HoldReason::MassFailure { bad: 3, of: 3 });
    assert_eq!(hold_with(30, None, false), None);
    assert_eq!(hold_with(31, None, false), mass);
    assert_eq!(hold_with(16, Some(SECOND * 30), false), mass, "half of the time for which it is valid");
    assert_eq!(hold_with(31, None, true), None, "what the daemon cannot read is not late");
}

#[test]
fn a_threshold_that_is_exceeded_counts() {
    let limits = CheckLimits { cpu_percent: Some(50.0), ..heartbeats_only() };
    let mut fleet = Fleet::start(3, &limits);
    for n in 1..3 {
        fleet.heartbeat(80, n, false);
        fleet.checked(
            90,
            n,
            CheckResult::Resources(Ok(Usage {
                cpu_percent: 80.0,
                memory_bytes: 1 << 20,
                open_files: OpenFiles::NotCounted,
            })),
        );
    }
    fleet.pass(SECOND * 101);
    assert_eq!(fleet.held(), Some(HoldReason::MassFailure { bad: 3, of: 3 }));
}

#[test]
fn agents_that_have_just_ended_count_and_stopped_ones_do_not() {
    let hold_with = |seconds: u64, input: fn(usize) -> Input| {
        let mut fleet = Fleet::start(4, &heartbeats_only());
        for n in 1..4 {
            fleet.heartbeat(50, n, false);
            fleet.pass(SECOND * u32::try_from(seconds).unwrap());
            let decisions = fleet.registry.handle(at(seconds), &n.to_string(), input(n)).unwrap();
            fleet.take(at(seconds), decisions);
        }
        fleet.pass(SECOND * 101);
        fleet.held()
    };
    let ends = |n| Input::Exited(process(n), Exit::Code(1));
    assert_eq!(hold_with(71, ends), Some(HoldReason::MassFailure { bad: 4, of: 4 }));
    assert_eq!(hold_with(70, ends), None, "more than one interval ago");
    assert_eq!(hold_with(71, |_| Input::RestartRequested(Reason::new(ReasonCode::RestartCommand, "operator"))), None);
    assert_eq!(hold_with(71, |_| Input::StopRequested(Reason::new(ReasonCode::StopCommand, "operator"))), None);
}

#[test]
fn what_was_part_of_a_mass_failure_does_not_count_for_another_one() {
    let never_for_three = |n| if n < 3 { RestartWhen::Never } else { RestartWhen::Always };
    let mut fleet = Fleet::start_with(5, &heartbeats_only(), never_for_three);
    fleet.heartbeat(80, 4, false);
    fleet.pass(SECOND * 101);
    assert_eq!(fleet.held(), Some(HoldReason::MassFailure { bad: 4, of: 5 }));
    fleet.heartbeat(130, 4, false);
    fleet.pass(SECOND * 221);
    assert_eq!(fleet.hold.map(|hold| hold.since), Some(SECOND * 101));
    assert_eq!(fleet.condemned, [None, None, None, Some(SECOND * 131), Some(SECOND * 221)]);
}

#[test]
fn agents_that_stay_late_hold_restarts_once() {
    let limits = CheckLimits { cpu_percent: Some(50.0), threshold_duration: SECOND * 3600, ..heartbeats_only() };
    let mut fleet = Fleet::start(5, &limits);
    for n in 2..5 {
        fleet.checked(
            20,
            n,
            CheckResult::Resources(Ok(Usage {
                cpu_percent: 80.0,
                memory_bytes: 1 << 20,
                open_files: OpenFiles::NotCounted,
            })),
        );
    }
    for seconds in [60, 120, 180] {
        (2..5).for_each(|n| fleet.heartbeat(seconds, n, false));
        if seconds == 120 {
            fleet.heartbeat(120, 1, false);
        } else if seconds == 60 {
            fleet.heartbeat(80, 1, false);
        }
        fleet.pass(SECOND * u32::try_from(seconds).unwrap() + SECOND * 39);
    }
    fleet.pass(SECOND * 211);
    assert_eq!(fleet.hold.map(|hold| hold.since), Some(SECOND * 101));
    assert_eq!(fleet.condemned, [Some(SECOND * 131), Some(SECOND * 211), None, None, None]);
}

#[test]
fn another_failure_of_the_host_holds_restarts_again() {
    let mut fleet = Fleet::start(4, &heartbeats_only());
    fleet.pass(SECOND * 101);
    assert_eq!(fleet.hold.map(|hold| hold.since), Some(SECOND * 101));
    (0..4).for_each(|n| fleet.heartbeat(120, n, false));
    fleet.pass(SECOND * 211);
    assert_eq!(fleet.hold.map(|hold| hold.since), Some(SECOND * 211));
    assert_eq!(fleet.condemned, [None; 4]);
}
