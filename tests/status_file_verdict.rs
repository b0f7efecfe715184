//! How readers judge a status file: dead, stuck and unknown agents differ, and none of them is OK.

use std::io;
use std::time::Duration;

use ops_protocol::status_file::{DecodeError, Ended, Previous, ReadError, StatusFile};
use ops_protocol::verdict::{Level, Liveness, ReaderContext, StatusFinding, judge};
use proptest::prelude::*;
use proptest::sample::select;
use statemachine::lifecycle::{Event, State};
use strum::VariantArray as _;

use crate::status_file_text::sample;

/// The validity that the sample states.
const VALID: Duration = Duration::from_secs(30);

fn running() -> StatusFile {
    StatusFile { state: State::Running, faults: Vec::new(), ..sample() }
}

/// A reader on the same host, `age` after the file was written, while its writer lives.
fn sight(file: &StatusFile, age: Duration) -> ReaderContext {
    ReaderContext {
        writer: Liveness::Alive { start: file.process_start },
        pid_namespace: file.pid_namespace,
        boot_id: Some(file.boot_id.clone()),
        expected: None,
        wall: file.updated_at.0 + age,
        boottime: Duration::from_nanos(file.updated_boottime_ns) + age,
        max_age: Duration::from_secs(90),
        ignores_own_limit: false,
    }
}

fn fresh(file: &StatusFile) -> ReaderContext {
    sight(file, Duration::from_millis(3100))
}

fn finding(file: &StatusFile, sight: &ReaderContext) -> StatusFinding {
    judge(Ok(file), sight).finding
}

#[test]
fn a_healthy_agent_is_ok_with_the_specified_text() {
    let verdict = judge(Ok(&running()), &fresh(&running()));
    assert_eq!(verdict.to_string(), "OK - agent-001 Running, refreshed 3.1 s ago, pid 4242 alive");
}

#[test]
fn a_degraded_agent_is_a_warning_that_names_its_faults() {
    let verdict = judge(Ok(&sample()), &fresh(&sample()));
    assert_eq!(
        verdict.to_string(),
        "WARNING - agent-001 Degraded: heartbeat (connection refused), refreshed 3.1 s ago, pid 4242 alive"
    );
}

#[test]
fn only_running_is_ok() {
    for state in State::VARIANTS {
        let file = StatusFile { state: *state, ..running() };
        let level = finding(&file, &fresh(&file)).level();
        let expected = match state {
            State::Running => Level::Ok,
            State::Starting | State::Degraded | State::Stopping => Level::Warning,
            State::Stopped => Level::Critical,
        };
        assert_eq!(level, expected, "{state:?}");
    }
}

#[test]
fn an_ended_process_differs_from_a_reused_pid() {
    let gone = ReaderContext { writer: Liveness::Gone, ..fresh(&running()) };
    let verdict = judge(Ok(&running()), &gone);
    assert_eq!(verdict.to_string(), "CRITICAL - agent-001 is dead: pid 4242 is gone, last seen Running 3.1 s ago");
    let other = ReaderContext { writer: Liveness::Alive { start: 999_999 }, ..fresh(&running()) };
    let verdict = judge(Ok(&running()), &other);
    assert_eq!(
        verdict.to_string(),
        "CRITICAL - agent-001 is dead: pid 4242 now belongs to another process, last seen Running 3.1 s ago"
    );
}

#[test]
fn a_pid_of_another_pid_namespace_proves_nothing() {
    let file = running();
    for writer in [Liveness::Gone, Liveness::Alive { start: 1 }, Liveness::Unproven] {
        let outside = |age| ReaderContext { writer, pid_namespace: 1, expected: Some(1), ..sight(&file, age) };
        assert_eq!(finding(&file, &outside(VALID)), StatusFinding::Healthy, "{writer:?}");
        let verdict = judge(Ok(&file), &outside(VALID + Duration::from_secs(1)));
        assert_eq!(
            verdict.to_string(),
            "CRITICAL - agent-001 is stuck: Running, but not refreshed for 31.0 s (valid for 30.0 s), pid 4242 in another PID namespace"
        );
    }
}

#[test]
fn while_the_pid_namespace_is_unknown_a_fresh_file_outweighs_another_process_with_its_pid() {
    let file = StatusFile { pid_namespace: 0, ..running() };
    let other = |age| ReaderContext { writer: Liveness::Alive { start: 1 }, ..sight(&file, age) };
    assert_eq!(
        judge(Ok(&file), &other(Duration::from_secs(3))).to_string(),
        "OK - agent-001 Running, refreshed 3.0 s ago, pid 4242 not visible from here"
    );
    assert_eq!(finding(&file, &other(VALID + Duration::from_secs(1))), StatusFinding::Recycled);
    let gone = ReaderContext { writer: Liveness::Gone, ..fresh(&file) };
    assert_eq!(finding(&file, &gone), StatusFinding::Dead);
}

#[test]
fn a_file_from_before_a_reboot_is_critical() {
    // Even if pid and start time happen to match a process of the present boot.
    let rebooted = ReaderContext { boot_id: Some("another".to_owned()), ..fresh(&running()) };
    assert_eq!(finding(&running(), &rebooted), StatusFinding::OtherBoot);
    assert_eq!(StatusFinding::OtherBoot.level(), Level::Critical);
}

#[test]
fn a_hung_loop_is_detected_although_its_process_is_alive() {
    let file = running();
    assert_eq!(finding(&file, &sight(&file, VALID)), StatusFinding::Healthy);
    assert_eq!(finding(&file, &sight(&file, VALID + Duration::from_nanos(1))), StatusFinding::Expired);
    let strict = ReaderContext { max_age: Duration::from_secs(5), ..sight(&file, Duration::from_millis(5001)) };
    let verdict = judge(Ok(&file), &strict);
    assert_eq!(
        verdict.to_string(),
        "CRITICAL - agent-001 is stuck: Running, but not refreshed for 5.0 s (limit 5.0 s), pid 4242 alive"
    );
}

#[test]
fn a_wall_clock_that_jumps_changes_no_verdict() {
    let (file, year) = (running(), Duration::from_secs(365 * 86_400));
    for (age, expected) in
        [(Duration::from_secs(3), StatusFinding::Healthy), (Duration::from_secs(31), StatusFinding::Expired)]
    {
        let here = sight(&file, age);
        for wall in [here.wall, here.wall + year, here.wall - year] {
            assert_eq!(finding(&file, &ReaderContext { wall, ..here.clone() }), expected);
        }
    }
}

#[test]
fn without_a_boot_id_the_wall_clock_decides_and_a_file_from_the_future_is_unknown() {
    let file = StatusFile { boot_id: String::new(), ..running() };
    assert_eq!(finding(&file, &sight(&file, Duration::from_secs(3))), StatusFinding::Healthy);
    assert_eq!(finding(&file, &sight(&file, Duration::from_secs(31))), StatusFinding::Expired);
    let behind = ReaderContext { wall: file.updated_at.0 - Duration::from_secs(60), ..fresh(&file) };
    assert_eq!(finding(&file, &behind), StatusFinding::OtherClock);
    assert_eq!(StatusFinding::OtherClock.level(), Level::Unknown);
}

#[test]
fn the_verdict_on_an_ended_agent_includes_how_it_ended() {
    let ended = |event| {
        let mut file = StatusFile { state: State::Stopped, cause: "why".to_owned(), ..running() };
        if let Some(last) = file.history.last_mut() {
            last.event = event;
        }
        let gone = ReaderContext { writer: Liveness::Gone, ..fresh(&file) };
        (file.as_previous(), judge(Ok(&file), &gone).to_string())
    };
    let previous = |ended| Previous { ended, state: State::Stopped, pid: 4242 };
    let line = |words: &str| format!("CRITICAL - agent-001 Stopped 3.1 s ago, {words}: why");
    assert_eq!(ended(Event::Drained), (previous(Ended::Clean), line("clean")));
    assert_eq!(ended(Event::GraceExpired), (previous(Ended::Forced), line("forced")));
    assert_eq!(ended(Event::StopRequested), (previous(Ended::Forced), line("forced")));
    assert_eq!(ended(Event::StartFailed), (previous(Ended::Failed), line("its start failed")));
    for state in State::VARIANTS.iter().filter(|state| **state != State::Stopped) {
        let file = StatusFile { state: *state, ..running() };
        assert_eq!(file.as_previous(), Previous { ended: Ended::Unclean, state: *state, pid: 4242 });
    }
}

#[test]
fn a_file_of_an_unexpected_process_is_reported() {
    for state in State::VARIANTS {
        let file = StatusFile { state: *state, ..running() };
        assert_eq!(finding(&file, &ReaderContext { expected: Some(4243), ..fresh(&file) }), StatusFinding::Stranger);
        assert_ne!(finding(&file, &ReaderContext { expected: Some(4242), ..fresh(&file) }), StatusFinding::Stranger);
    }
}

#[test]
fn without_a_readable_file_the_verdict_is_unknown_with_the_cause() {
    let line = |error| judge(Err(&error), &fresh(&running())).to_string();
    insta::assert_snapshot!(
        "unreadable",
        [
            line(ReadError::Missing),
            line(ReadError::NotAFile),
            line(ReadError::Unreadable(io::Error::other("Input/output error"))),
            line(ReadError::Corrupt(DecodeError::Empty)),
            line(ReadError::Corrupt(DecodeError::Nuls)),
            line(ReadError::Corrupt(DecodeError::Torn)),
            line(ReadError::Corrupt(DecodeError::Edited)),
            line(ReadError::Corrupt(DecodeError::NotAStatusFile)),
            line(ReadError::Corrupt(DecodeError::NewerSchema(2))),
            line(ReadError::Corrupt(DecodeError::Malformed("3:5: expected `(`".to_owned()))),
            line(ReadError::Corrupt(DecodeError::TooLong(300_000))),
        ]
        .join("\n")
    );
}

#[test]
fn control_characters_in_a_cause_are_escaped() {
    let mut file = sample();
    file.faults[0].detail = "a\nb\u{1b}[2J".to_owned();
    let line = judge(Ok(&file), &fresh(&file)).to_string();
    assert!(!line.contains(char::is_control), "{line:?}");
}

proptest! {
    /// In any context, OK means an agent in Running, fresh by its own validity and by the
    /// reader's limit, whose process is not known to be gone or replaced.
    #[test]
    fn a_dead_agent_is_never_ok(
        state in select(State::VARIANTS),
        writer in select(vec![
            Liveness::Alive { start: 123_456 }, Liveness::Alive { start: 1 }, Liveness::Gone, Liveness::Unproven,
        ]),
        boot_id in select(vec![Some(sample().boot_id), Some("other".to_owned()), None]),
        expected in select(vec![None, Some(4242), Some(1)]),
        (wall_s, boot_s) in (0..200_u64, 0..200_u64),
        max_age in 0..100_u64,
    ) {
        let file = StatusFile { state, ..running() };
        let sight = ReaderContext {
            writer,
            pid_namespace: file.pid_namespace,
            boot_id: boot_id.clone(),
            expected,
            wall: file.updated_at.0 - Duration::from_secs(100) + Duration::from_secs(wall_s),
            boottime: Duration::from_secs(boot_s),
            max_age: Duration::from_secs(max_age),
            ignores_own_limit: false,
        };
        let age = match &boot_id {
            Some(_) => i128::from(boot_s) - 75,
            None => i128::from(wall_s) - 100,
        };
        let fit = state == State::Running
            && matches!(writer, Liveness::Alive { start: 123_456 } | Liveness::Unproven)
            && boot_id.as_deref() != Some("other")
            && expected != Some(1)
            && (-1..=30).contains(&age)
            && age <= i128::from(max_age);
        prop_assert_eq!(finding(&file, &sight) == StatusFinding::Healthy, fit);
    }
}
