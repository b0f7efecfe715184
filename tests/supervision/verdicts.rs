//! The verdict that follows from the checks.

use std::time::Duration;

use ops_agent::testing::daemon::checks::{
    CheckLimits, Decision, Evidence, HttpCheckResult, OpenFiles, StatusFacts, StatusFileResult, Usage, explain,
};
use ops_agent::testing::daemon::restart_guard::{HoldReason, RestartGuard};

const PID: u32 = 42;

fn limits() -> CheckLimits {
    CheckLimits { http: true, state_max_age: Some(secs(60)), ..CheckLimits::default() }
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn file(age: u64) -> StatusFacts {
    StatusFacts {
        mark: age,
        age: Some(secs(age)),
        ahead: None,
        valid_for: Some(secs(30)),
        pid: Some(PID),
        degraded: None,
    }
}

/// An agent that was watched for 1,000 s and passes every check.
fn healthy() -> Evidence {
    let mut evidence = Evidence::new(Duration::ZERO, &limits());
    evidence.on_heartbeat(secs(1000), false);
    evidence.on_http(secs(1000), secs(1000), &limits(), HttpCheckResult::Answered);
    evidence.on_status_file(secs(1000), &limits(), PID, StatusFileResult::Read(file(3)));
    evidence.on_sample(
        secs(1000),
        &limits(),
        Ok(Usage { cpu_percent: 1.0, memory_bytes: 1 << 20, open_files: OpenFiles::NotCounted }),
    );
    evidence
}

fn verdict(evidence: &Evidence, now: u64) -> (Decision, String) {
    let states = evidence.states(secs(now), &limits());
    (states.decide(None), explain(&states, secs(now)))
}

#[test]
fn the_combination_of_checks_names_what_is_stuck() {
    let mut frozen = healthy();
    frozen.on_status_file(secs(1000), &limits(), PID, StatusFileResult::Read(file(41)));
    assert_eq!(
        verdict(&frozen, 1000),
        (
            Decision::Restart,
            "HTTP answers, heartbeats arrive, status file frozen for 41 s: the writer of the file hangs".to_owned()
        )
    );

    let mut silent = healthy();
    silent.on_http(secs(1089), secs(1089), &limits(), HttpCheckResult::Answered);
    silent.on_status_file(secs(1089), &limits(), PID, StatusFileResult::Read(file(2)));
    assert_eq!(verdict(&silent, 1089).0, Decision::Healthy);
    let (decision, sentence) = verdict(&silent, 1090);
    assert_eq!(decision, Decision::Restart);
    assert_eq!(
        sentence,
        "HTTP answers, status file fresh, no heartbeat for 90 s: its sender hangs, or cannot reach this daemon"
    );

    let mut degraded = healthy();
    let facts = StatusFacts { degraded: Some("heartbeat".to_owned()), ..file(3) };
    degraded.on_status_file(secs(1000), &limits(), PID, StatusFileResult::Read(facts));
    assert_eq!(verdict(&degraded, 1000).0, Decision::Report, "{degraded:?}");

    assert_eq!(verdict(&healthy(), 1000), (Decision::Healthy, "all checks are good".to_owned()));
}

/// The sentence about an agent whose checks are bad as given, at 2,000 s. All others pass.
fn sentence(silent: bool, http_fails: bool, file: Option<StatusFileResult>, hungry: bool) -> String {
    let mut evidence = healthy();
    if !silent {
        evidence.on_heartbeat(secs(2000), false);
    }
    for failure in 0..3 {
        let at = secs(1940 + 30 * failure);
        let answer =
            if http_fails { HttpCheckResult::Failed("answers 503".to_owned()) } else { HttpCheckResult::Answered };
        evidence.on_http(at, at, &limits(), answer);
    }
    let file = file.unwrap_or(StatusFileResult::Read(StatusFacts { mark: 99, ..self::file(0) }));
    evidence.on_status_file(secs(2000), &limits(), PID, file);
    for at in [1900, 2000] {
        let cpu_percent = if hungry { 80.0 } else { 1.0 };
        evidence.on_sample(
            secs(at),
            &limits(),
            Ok(Usage { cpu_percent, memory_bytes: 1 << 20, open_files: OpenFiles::NotCounted }),
        );
    }
    explain(&evidence.states(secs(2000), &limits()), secs(2000))
}

#[test]
fn each_combination_of_bad_checks_has_its_conclusion() {
    let frozen = || Some(StatusFileResult::Read(file(41)));
    let damaged = || Some(StatusFileResult::Damaged("is damaged".to_owned()));
    for (silent, http_fails, file, hungry, conclusion) in [
        (false, false, None, true, "it works, but uses too much"),
        (true, false, None, false, "its sender hangs, or cannot reach this daemon"),
        (false, true, None, false, "its HTTP endpoint hangs or is unhealthy"),
        (false, false, frozen(), false, "the writer of the file hangs"),
        (false, false, damaged(), false, "a part of it hangs"),
        (true, true, None, false, "a part of it hangs"),
        (true, false, frozen(), false, "a part of it hangs"),
        (true, true, frozen(), false, "the process is alive but hangs"),
        (true, true, damaged(), true, "the process is alive but hangs"),
    ] {
        let sentence = sentence(silent, http_fails, file, hungry);
        assert!(sentence.ends_with(&format!(": {conclusion}")), "{conclusion}: {sentence}");
    }
    let facts = StatusFacts { mark: 99, degraded: Some("heartbeat".to_owned()), ..file(0) };
    let sentence = sentence(false, false, Some(StatusFileResult::Read(facts)), false);
    assert!(sentence.ends_with(": reported only, no reason for a restart"), "{sentence}");
}

#[test]
fn the_status_file_must_be_valid_fresh_and_the_agent_s_own() {
    let other = StatusFacts { pid: Some(7), ..file(3) };
    for (look, why) in [
        (StatusFileResult::Damaged("has a wrong checksum".to_owned()), "has a wrong checksum"),
        (StatusFileResult::Read(other), "written by pid 7 instead of 42"),
        (StatusFileResult::Read(StatusFacts { valid_for: None, ..file(61) }), "frozen"),
        (StatusFileResult::Read(file(31)), "frozen"),
    ] {
        let mut evidence = healthy();
        evidence.on_status_file(secs(1000), &limits(), PID, look);
        let (decision, sentence) = verdict(&evidence, 1000);
        assert_eq!(decision, Decision::Restart, "{sentence}");
        assert!(sentence.contains(why), "{sentence}");
    }
}

/// The verdict on a healthy agent after this look at its status file at `now`.
fn after(evidence: &mut Evidence, now: u64, look: StatusFileResult) -> (Decision, String) {
    evidence.on_heartbeat(secs(now), false);
    evidence.on_http(secs(now), secs(now), &limits(), HttpCheckResult::Answered);
    evidence.on_sample(
        secs(now),
        &limits(),
        Ok(Usage { cpu_percent: 1.0, memory_bytes: 1 << 20, open_files: OpenFiles::NotCounted }),
    );
    evidence.on_status_file(secs(now), &limits(), PID, look);
    verdict(evidence, now)
}

#[test]
fn a_missing_file_ages_like_one_that_is_not_refreshed() {
    // Last refreshed at 997.
    let mut evidence = healthy();
    let (decision, sentence) = after(&mut evidence, 1030, StatusFileResult::Missing);
    assert_eq!(decision, Decision::Nothing, "one glimpse");
    assert_eq!(sentence, "status_file unknown: not there, last refreshed 33 s ago");
    assert_eq!(after(&mut evidence, 1057, StatusFileResult::Missing).0, Decision::Nothing);
    let (decision, sentence) = after(&mut evidence, 1058, StatusFileResult::Missing);
    assert_eq!(decision, Decision::Restart);
    assert!(sentence.contains("status file not there for 61 s"), "{sentence}");
    let back = StatusFacts { mark: 9, ..file(0) };
    assert_eq!(after(&mut evidence, 1060, StatusFileResult::Read(back)).0, Decision::Healthy);
}

#[test]
fn a_file_from_the_future_is_reported_and_ages_from_its_last_change() {
    let future = |mark| {
        StatusFileResult::Read(StatusFacts { mark, age: None, ahead: Some(secs(3600)), valid_for: None, ..file(0) })
    };
    let mut evidence = healthy();
    let (decision, sentence) = after(&mut evidence, 1010, future(5));
    assert_eq!(decision, Decision::Report);
    assert!(sentence.contains("status file dated 1 h 0 min in the future"), "{sentence}");
    assert_eq!(after(&mut evidence, 1060, future(6)).0, Decision::Report, "it is refreshed");
    assert_eq!(after(&mut evidence, 1120, future(6)).0, Decision::Report);
    assert_eq!(after(&mut evidence, 1121, future(6)).0, Decision::Restart);

    // An age that the file chooses does not make it younger than its last change.
    let mut evidence = healthy();
    let always_new = || StatusFileResult::Read(StatusFacts { mark: 5, valid_for: None, ..file(0) });
    assert_eq!(after(&mut evidence, 1010, always_new()).0, Decision::Healthy);
    assert_eq!(after(&mut evidence, 1071, always_new()).0, Decision::Restart);
}

#[test]
fn a_check_that_the_daemon_cannot_run_leaves_the_other_checks_to_decide() {
    let not_tried = || HttpCheckResult::NotTried("its name cannot be resolved".to_owned());
    let mut evidence = healthy();
    evidence.on_http(secs(1000), secs(1000), &limits(), not_tried());
    let expected = "http unknown: its name cannot be resolved".to_owned();
    assert_eq!(verdict(&evidence, 1000), (Decision::HealthyAsFarAsKnown, expected));
    evidence.on_http(secs(1000), secs(1000), &limits(), HttpCheckResult::Failed("answers 503".to_owned()));
    evidence.on_http(secs(1000), secs(1000), &limits(), not_tried());
    assert_eq!(verdict(&evidence, 1000).0, Decision::Nothing, "a failure that was counted stands");

    let mut young = Evidence::new(Duration::ZERO, &limits());
    young.on_http(secs(5), secs(5), &limits(), not_tried());
    assert_eq!(verdict(&young, 5).0, Decision::Nothing, "in its start grace");
}

#[test]
fn a_file_that_does_not_tell_its_age_is_as_old_as_its_mark() {
    let mut evidence = healthy();
    for (now, mark, decision) in [
        (1010, 1, Decision::Healthy),
        (1060, 1, Decision::Healthy),
        (1071, 1, Decision::Restart),
        (1072, 2, Decision::Healthy),
    ] {
        evidence.on_heartbeat(secs(now), false);
        let facts = StatusFacts { mark: mark + 10, age: None, ahead: None, valid_for: None, pid: None, degraded: None };
        evidence.on_status_file(secs(now), &limits(), PID, StatusFileResult::Read(facts));
        assert_eq!(verdict(&evidence, now).0, decision, "at {now}");
    }
}

#[test]
fn http_fails_after_three_failures_in_a_row_and_never_for_untried_checks() {
    let mut evidence = healthy();
    let mut ask = |now: u64, probe: HttpCheckResult| {
        evidence.on_heartbeat(secs(now), false);
        evidence.on_http(secs(now), secs(now), &limits(), probe);
        verdict(&evidence, now).0
    };
    let failed = || HttpCheckResult::Failed("answers 503".to_owned());
    assert_eq!(
        [ask(1030, failed()), ask(1060, failed()), ask(1090, HttpCheckResult::Answered)].last(),
        Some(&Decision::Healthy)
    );
    assert_eq!(ask(1120, failed()), Decision::Nothing);
    assert_eq!(ask(1121, failed()), Decision::Nothing, "more frequent checks do not make an agent fail faster");
    assert_eq!(ask(1150, HttpCheckResult::NotTried("too many open files".to_owned())), Decision::Nothing);
    assert_eq!(ask(1180, failed()), Decision::Nothing);
    assert_eq!(ask(1210, failed()), Decision::Restart);
}

#[test]
fn an_endpoint_that_reports_degraded_is_no_failure() {
    let mut evidence = healthy();
    for now in [1030, 1060, 1090, 1120] {
        evidence.on_heartbeat(secs(now), false);
        evidence.on_http(secs(now), secs(now), &limits(), HttpCheckResult::Degraded);
        let refreshed = StatusFacts { mark: now, ..file(3) };
        evidence.on_status_file(secs(now), &limits(), PID, StatusFileResult::Read(refreshed));
    }
    let (decision, sentence) = verdict(&evidence, 1120);
    assert_eq!(decision, Decision::Report);
    assert_eq!(
        sentence,
        "heartbeats arrive, status file fresh, HTTP reports that the agent is degraded for 90 s: reported only, no reason for \
         a restart"
    );
}

#[test]
fn the_silence_of_a_program_that_is_known_to_send_none_counts_only_after_a_first_heartbeat() {
    let limits =
        CheckLimits { expects_heartbeats: false, cpu_percent: None, memory_bytes: None, ..CheckLimits::default() };
    let decide = |evidence: &Evidence, now| evidence.states(secs(now), &limits).decide(None);
    let mut evidence = Evidence::new(Duration::ZERO, &limits);
    assert_eq!(decide(&evidence, 10_000), Decision::Healthy);
    evidence.on_heartbeat(secs(10_000), false);
    assert_eq!(decide(&evidence, 10_089), Decision::Healthy);
    assert_eq!(decide(&evidence, 10_090), Decision::Restart);
}

#[test]
fn a_resource_limit_counts_only_if_exceeded_for_long_enough() {
    let mut evidence = healthy();
    for (now, cpu_percent, decision) in [
        (1010, 80.0, Decision::Healthy),
        (1060, 80.0, Decision::Healthy),
        (1065, 10.0, Decision::Healthy),
        (1070, 80.0, Decision::Healthy),
        (1130, 80.0, Decision::Restart),
    ] {
        evidence.on_heartbeat(secs(now), false);
        evidence.on_http(secs(now), secs(now), &limits(), HttpCheckResult::Answered);
        let refreshed = StatusFacts { mark: now, ..file(3) };
        evidence.on_status_file(secs(now), &limits(), PID, StatusFileResult::Read(refreshed));
        evidence.on_sample(
            secs(now),
            &limits(),
            Ok(Usage { cpu_percent, memory_bytes: 1 << 20, open_files: OpenFiles::NotCounted }),
        );
        assert_eq!(verdict(&evidence, now).0, decision, "at {now}");
    }
}

#[test]
fn failures_during_the_start_grace_do_not_count_and_results_expire() {
    let mut young = Evidence::new(Duration::ZERO, &limits());
    young.on_http(secs(5), secs(5), &limits(), HttpCheckResult::Failed("refuses connections".to_owned()));
    young.on_status_file(secs(5), &limits(), PID, StatusFileResult::Missing);
    assert_eq!(verdict(&young, 5).0, Decision::Nothing);
    assert_eq!(verdict(&young, 99).0, Decision::Nothing, "no heartbeat yet, 89 s after its grace");
    assert_eq!(verdict(&young, 100).0, Decision::Restart);

    let mut old = healthy();
    old.on_heartbeat(secs(1200), false);
    let (decision, sentence) = verdict(&old, 1200);
    assert_eq!(decision, Decision::Nothing);
    assert!(sentence.contains("http unknown: not checked for 200 s"), "{sentence}");
}

#[test]
fn restarts_are_held_for_one_interval_after_a_stall_a_suspend_and_a_mass_failure() {
    let interval = secs(30);
    let mut guard = RestartGuard::default();
    let mut wake = |now, boottime, due| guard.on_wakeup(secs(now), secs(boottime), Some(secs(due)), |_| Duration::ZERO);
    assert_eq!(wake(100, 100, 100), None);
    assert_eq!(wake(105, 105, 101).unwrap().reason, HoldReason::Stalled(secs(4)));
    assert!(guard.holds(secs(134), interval).is_some() && guard.holds(secs(135), interval).is_none());
    let suspended = guard.on_wakeup(secs(200), secs(3800), Some(secs(200)), |_| Duration::ZERO).unwrap();
    assert_eq!(suspended.reason, HoldReason::Suspended(secs(3600)));
    assert_eq!(guard.awake_age(secs(205), secs(3610)), secs(10));

    let failure = guard.judge_collected(secs(300), 3, 5).unwrap();
    assert_eq!(failure.reason, HoldReason::MassFailure { bad: 3, of: 5 });
    assert!(guard.holds(secs(329), interval).is_some() && guard.holds(secs(330), interval).is_none());
    assert!(guard.has_held(secs(300)) && !guard.has_held(secs(301)), "later trouble is another failure");
    assert!(guard.stood_still_after(secs(199)) && !guard.stood_still_after(secs(200)), "a mass failure is no stall");
}
