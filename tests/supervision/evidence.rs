//! What the registry keeps of the checks, and when it counts.

use std::time::Duration;

use ops_agent::testing::daemon::checks::{
    CheckLimits, CheckResult, Evidence, HttpCheckResult, OpenFiles, Usage, explain,
};
use ops_agent::testing::daemon::registry::{Decisions, DesiredAgent, Registry};
use ops_protocol::views::{AgentView, Check, CheckVerdict};
use statemachine::supervision::{Input, Policy, State};

use super::registry::{at, boot, from_a, process, wanted};

/// Agent `a`, started at 0 s, with these limits.
fn one(limits: CheckLimits) -> Registry {
    let mut registry = Registry::open(at(0), boot(), vec![DesiredAgent { limits, ..wanted("a", 1) }], None, &[]);
    registry.found(at(0), "a", None).unwrap();
    registry.handle(at(0), "a", Input::Spawned(process(10))).unwrap();
    registry
}

fn view(registry: &Registry, seconds: u64) -> AgentView {
    registry.view(at(seconds), "a").unwrap()
}

#[test]
fn the_last_heartbeat_and_the_last_sample_are_shown() {
    let mut registry = one(CheckLimits::default());
    let shown = view(&registry, 5);
    assert_eq!((shown.last_heartbeat, shown.cpu_percent, shown.memory_bytes), (None, None, None));
    registry.on_heartbeat(at(7), "a", &from_a(false)).unwrap();
    let usage = Usage { cpu_percent: 2.5, memory_bytes: 4096, open_files: OpenFiles::NotCounted };
    registry.on_check_result(at(8), "a", process(10), at(8).monotonic, CheckResult::Resources(Ok(usage)));
    let shown = view(&registry, 20);
    assert_eq!(shown.last_heartbeat.map(|at| at.0), Some(at(7).wall));
    assert_eq!((shown.cpu_percent, shown.memory_bytes), (Some(2.5), Some(4096)));
}

#[test]
fn the_registry_wakes_up_when_silence_becomes_bad() {
    // No check is due before.
    let interval = Duration::from_secs(3600);
    let limits = CheckLimits { interval, cpu_percent: None, memory_bytes: None, ..CheckLimits::default() };
    let mut registry = one(limits.clone());
    registry.on_heartbeat(at(20), "a", &from_a(false)).unwrap();
    registry.expire(at(21));
    let silent_from = at(20).monotonic + limits.heartbeat_timeout.unwrap();
    assert_eq!(registry.deadline(), Some(silent_from));
    assert_eq!(view(&registry, 20).state, State::Running);
}

#[test]
fn the_grace_ends_at_its_last_moment() {
    let limits = CheckLimits { http: true, ..CheckLimits::default() };
    let counts = |at: Duration| {
        let mut evidence = Evidence::new(Duration::ZERO, &limits);
        evidence.on_http(at, at, &limits, HttpCheckResult::Failed("answers 503".to_owned()));
        explain(&evidence.states(at, &limits), at).contains("1 of 3 times")
    };
    assert!(!counts(limits.start_grace - Duration::from_nanos(1)));
    assert!(counts(limits.start_grace));
}

#[test]
fn a_result_expires_after_three_intervals_and_ten_seconds() {
    let limits = CheckLimits { http: true, ..CheckLimits::default() };
    let longest = limits.interval.as_secs() * 3 + 10;
    let mut registry = one(limits);
    registry.on_check_result(at(20), "a", process(10), at(20).monotonic, CheckResult::Http(HttpCheckResult::Answered));
    let http = |seconds: u64| {
        let shown = view(&registry, seconds);
        shown.signals.iter().find(|check| check.check == Check::Http).unwrap().verdict
    };
    assert_eq!(http(20 + longest), CheckVerdict::Ok);
    assert_eq!(http(21 + longest), CheckVerdict::Unknown);
}

#[test]
fn a_reload_of_checks_and_policy_applies_to_the_running_process() {
    let limits = CheckLimits { http: true, ..CheckLimits::default() };
    let mut registry = one(limits.clone());
    registry.on_heartbeat(at(20), "a", &from_a(false)).unwrap();
    let failed = || CheckResult::Http(HttpCheckResult::Failed("answers 503".to_owned()));
    registry.on_check_result(at(20), "a", process(10), at(20).monotonic, failed());
    let policy = Policy { max_retries: 3, ..Policy::default() };
    let http = |registry: &Registry, seconds: u64| {
        let shown = view(registry, seconds);
        shown.signals.into_iter().find(|check| check.check == Check::Http).unwrap().detail.unwrap()
    };

    let shorter = CheckLimits { heartbeat_timeout: Some(Duration::from_secs(30)), ..limits };
    let reloaded = DesiredAgent { policy, limits: shorter.clone(), ..wanted("a", 1) };
    assert_eq!(registry.reload(at(21), vec![reloaded.clone()]), Decisions::default());
    assert_eq!(registry.get("a").unwrap().machine().policy(), &policy);
    assert!(http(&registry, 21).contains("1 of 3 times"), "the same endpoint");
    let silent_from = at(50).monotonic;
    assert!(registry.deadline().unwrap() <= silent_from);
    let heartbeat = |seconds: u64| view(&registry, seconds).signals[1].verdict;
    assert_eq!((heartbeat(49), heartbeat(50)), (CheckVerdict::Ok, CheckVerdict::Bad));

    let limits = CheckLimits { targets: 1, ..shorter };
    assert_eq!(registry.reload(at(22), vec![DesiredAgent { limits, ..reloaded }]), Decisions::default());
    assert_eq!(http(&registry, 22), "not checked yet", "another endpoint");
    assert_eq!(view(&registry, 22).pid, Some(10));
}
