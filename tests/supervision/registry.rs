//! Which heartbeats the registry accepts, and what the next daemon inherits.

use std::time::{Duration, SystemTime};

use ops_agent::testing::daemon::checks::{CHECK_TIMEOUT, CheckLimits, CheckResult, HttpCheckResult};
use ops_agent::testing::daemon::registry::{
    AgentId, Damaged, Decisions, DesiredAgent, HeartbeatFacts, Proof, Registry, Rejected, decode, encode,
};
use ops_agent::testing::daemon::restart_guard::STALL;
use ops_protocol::views::Check;
use statemachine::supervision::{BootId, Effect, Exit, Identity, Input, Policy, Reason, ReasonCode, State};
use statemachine::time::Now;

pub(super) fn at(seconds: u64) -> Now {
    let monotonic = Duration::from_secs(seconds);
    Now { monotonic, wall: SystemTime::UNIX_EPOCH + monotonic }
}

pub(super) fn boot() -> BootId {
    "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa".parse().unwrap()
}

pub(super) fn process(pid: u32) -> Identity {
    Identity { pid, start_ticks: 5, boot: boot() }
}

pub(super) fn wanted(id: &str, fingerprint: u64) -> DesiredAgent {
    let (policy, limits) = (Policy::default(), CheckLimits::default());
    DesiredAgent { id: AgentId::from(id), enabled: true, depends_on: Box::default(), policy, limits, fingerprint }
}

/// Agents `a` (pid 10) and `b` (pid 11), just started.
pub(super) fn two() -> Registry {
    let mut registry = Registry::open(at(0), boot(), vec![wanted("a", 1), wanted("b", 1)], None, &[]);
    for (id, pid) in [("a", 10), ("b", 11)] {
        let outcome = registry.found(at(0), id, None).unwrap();
        assert_eq!(outcome.actions[0].effects, [Effect::Record, Effect::Spawn]);
        registry.handle(at(0), id, Input::Spawned(process(pid))).unwrap();
    }
    registry
}

/// The pid of agent `a` proves its heartbeats.
const fn proof(pid: u32) -> Proof {
    if pid == 10 { Proof::Proved } else { Proof::Nothing }
}

/// A heartbeat of agent `a`.
pub(super) const fn from_a(degraded: bool) -> HeartbeatFacts {
    HeartbeatFacts { pid: 10, incarnation: None, degraded, proof: Proof::Proved }
}

#[test]
fn a_heartbeat_decides_at_once_when_it_changes_the_state_and_not_otherwise() {
    let limits = CheckLimits { cpu_percent: None, memory_bytes: None, ..CheckLimits::default() };
    let mut registry = Registry::open(at(0), boot(), vec![DesiredAgent { limits, ..wanted("a", 1) }], None, &[]);
    registry.found(at(0), "a", None).unwrap();
    registry.handle(at(0), "a", Input::Spawned(process(10))).unwrap();
    let moved = |outcome: Decisions| outcome.actions.into_iter().find_map(|action| Some(action.transition?.to));
    assert_eq!(moved(registry.on_heartbeat(at(60), "a", &from_a(false)).unwrap()), Some(State::Running));
    assert_eq!(registry.on_heartbeat(at(61), "a", &from_a(false)).unwrap(), Decisions::default());
    assert_eq!(registry.get("a").unwrap().machine().state(), State::Running);
    assert_eq!(moved(registry.on_heartbeat(at(62), "a", &from_a(true)).unwrap()), Some(State::Unhealthy));
    assert_eq!(moved(registry.on_heartbeat(at(63), "a", &from_a(false)).unwrap()), Some(State::Running));
    for strays in 1..3 {
        assert_eq!(registry.on_heartbeat(at(64), "x", &from_a(false)), Err(Rejected::UnknownAgent));
        assert_eq!(registry.strays(), strays);
    }
}

#[test]
fn a_check_that_ended_late_says_nothing_about_the_agent() {
    // The daemon's limit for a check, and the delay that counts as a stall.
    let limit = CHECK_TIMEOUT + STALL;
    for (late, expected) in [(Duration::ZERO, "1 of 3 times"), (Duration::from_millis(1), "the daemon itself stalled")]
    {
        let limits = CheckLimits { http: true, ..CheckLimits::default() };
        let mut registry = Registry::open(at(0), boot(), vec![DesiredAgent { limits, ..wanted("a", 1) }], None, &[]);
        registry.found(at(0), "a", None).unwrap();
        registry.handle(at(0), "a", Input::Spawned(process(10))).unwrap();
        let now = at(60);
        let failed = CheckResult::Http(HttpCheckResult::Failed("answers 503".to_owned()));
        registry.on_check_result(now, "a", process(10), now.monotonic - limit - late, failed);
        let view = registry.view(now, "a").unwrap();
        let http = view.signals.iter().find(|check| check.check == Check::Http).unwrap();
        assert!(http.detail.as_ref().is_some_and(|detail| detail.contains(expected)), "{late:?}: {http:?}");
    }
}

#[test]
fn a_named_heartbeat_counts_only_until_the_agent_has_proved_itself() {
    let mut registry = two();
    let heartbeat = |incarnation, proof| HeartbeatFacts { pid: 10, incarnation, degraded: false, proof };
    assert!(
        registry.on_heartbeat(at(1), "a", &heartbeat(Some(u64::MAX), Proof::Named)).is_ok(),
        "an agent without a secret"
    );
    assert!(
        registry.on_heartbeat(at(1), "a", &heartbeat(Some(7), Proof::Proved)).is_ok(),
        "a forged incarnation does not count"
    );
    let forged = Err(Rejected::Unproved { got: 10 });
    assert_eq!(registry.on_heartbeat(at(1), "a", &heartbeat(Some(u64::MAX), Proof::Named)), forged);
    assert_eq!(registry.on_heartbeat(at(1), "a", &heartbeat(None, Proof::Nothing)), forged);

    let saved = registry.save(boot());
    let mut next = Registry::open(at(2), boot(), vec![wanted("a", 1), wanted("b", 1)], Some(saved), &[]);
    next.found(at(2), "a", Some(process(10))).unwrap();
    assert_eq!(next.on_heartbeat(at(2), "a", &heartbeat(None, Proof::Named)), forged, "the next daemon knows it too");

    registry.handle(at(2), "a", Input::Exited(process(10), Exit::Code(1))).unwrap();
    registry.handle(at(2), "a", Input::TimePassed).unwrap();
    registry.handle(at(2), "a", Input::Spawned(process(12))).unwrap();
    let named = HeartbeatFacts { pid: 12, ..heartbeat(None, Proof::Named) };
    assert!(registry.on_heartbeat(at(3), "a", &named).is_ok(), "a new start begins without proof");
}

#[test]
fn a_stop_that_only_the_records_of_starts_know_is_kept() {
    let stopped = ["a".to_owned()];
    let mut registry = Registry::open(at(0), boot(), vec![wanted("a", 1), wanted("b", 1)], None, &stopped);
    for id in ["a", "b"] {
        registry.found(at(0), id, None).unwrap();
    }
    let state = |id: &str| registry.get(id).unwrap().machine().state();
    assert_eq!((state("a"), state("b")), (State::Stopped, State::Starting));
    registry.handle(at(1), "a", Input::StartRequested(Reason::new(ReasonCode::StartCommand, "operator"))).unwrap();
    assert_eq!(registry.get("a").unwrap().machine().state(), State::Starting);
}

#[test]
fn a_tree_that_loses_its_main_process_counts_as_failed_and_is_stopped_first() {
    let mut registry = two();
    let outcome = registry.main_gone(at(60), "a", process(10), Exit::Code(0), 2);
    assert!(outcome.actions[0].effects.contains(&Effect::StopTree));
    assert_eq!(registry.get("a").unwrap().machine().state(), State::Stopping);
    let outcome = registry.handle(at(61), "a", Input::Exited(process(10), Exit::Unseen)).unwrap();
    assert_eq!(outcome.actions[0].effects, [Effect::Reap, Effect::Record]);
    assert_eq!(registry.get("a").unwrap().machine().state(), State::Backoff, "long after the start: no daemon program");

    let mut registry = two();
    registry.main_gone(at(1), "a", process(10), Exit::Code(0), 1);
    registry.handle(at(2), "a", Input::Exited(process(10), Exit::Unseen)).unwrap();
    assert_eq!(registry.get("a").unwrap().machine().state(), State::Failed, "it went to the background");
}

#[test]
fn a_heartbeat_counts_only_from_the_agents_own_newest_process() {
    let mut registry = two();
    let heartbeat = |pid, incarnation| HeartbeatFacts { pid, incarnation, degraded: false, proof: proof(pid) };
    assert!(registry.on_heartbeat(at(1), "a", &heartbeat(10, Some(7))).is_ok());
    assert!(registry.on_heartbeat(at(1), "a", &heartbeat(10, None)).is_ok(), "not every agent sends an incarnation");
    assert_eq!(registry.on_heartbeat(at(1), "x", &heartbeat(10, None)), Err(Rejected::UnknownAgent));
    assert_eq!(
        registry.on_heartbeat(at(1), "a", &heartbeat(11, Some(8))),
        Err(Rejected::WrongPid { got: 11, want: Some(10) })
    );
    assert_eq!(
        registry.on_heartbeat(at(1), "a", &heartbeat(10, Some(6))),
        Err(Rejected::Outdated { got: 6, newest: 7 })
    );
    let a = registry.get("a").unwrap();
    assert_eq!((a.heartbeats, a.rejected(), registry.strays()), (2, 2, 1));
    assert_eq!(registry.by_pid(10).map(|id| &**id), Some("a"));

    registry.handle(at(2), "a", Input::Exited(process(10), Exit::Code(1))).unwrap();
    assert_eq!(
        registry.on_heartbeat(at(2), "a", &heartbeat(10, Some(7))),
        Err(Rejected::WrongPid { got: 10, want: None })
    );
    assert_eq!(registry.by_pid(10), None);
}

#[test]
fn a_new_process_may_count_its_starts_from_one_again() {
    let mut registry = two();
    let heartbeat = |pid, incarnation| HeartbeatFacts {
        pid,
        incarnation: Some(incarnation),
        degraded: false,
        proof: Proof::Proved,
    };
    registry.on_heartbeat(at(1), "a", &heartbeat(10, 7)).unwrap();
    registry.handle(at(2), "a", Input::Exited(process(10), Exit::Code(1))).unwrap();
    registry.expire(at(60));
    registry.handle(at(60), "a", Input::Spawned(process(12))).unwrap();
    let saved = registry.on_heartbeat(at(61), "a", &heartbeat(12, 1)).unwrap();
    assert!(
        matches!(&saved.actions[..], [action] if action.effects == [Effect::Record]),
        "the proof is saved: {saved:?}"
    );
    assert_eq!(registry.on_heartbeat(at(62), "a", &heartbeat(12, 1)), Ok(Decisions::default()));
}

#[test]
fn what_was_seen_before_the_end_of_a_hold_restarts_no_agent() {
    let limits = CheckLimits {
        heartbeat_timeout: None,
        http: true,
        cpu_percent: None,
        memory_bytes: None,
        ..CheckLimits::default()
    };
    let mut registry = Registry::open(at(0), boot(), vec![DesiredAgent { limits, ..wanted("a", 1) }], None, &[]);
    registry.found(at(0), "a", None).unwrap();
    registry.handle(at(0), "a", Input::Spawned(process(10))).unwrap();
    let fails = |registry: &mut Registry, seconds| {
        let result = CheckResult::Http(HttpCheckResult::Failed("answers 503".to_owned()));
        registry.on_check_result(at(seconds), "a", process(10), at(seconds).monotonic, result);
        registry.get("a").unwrap().machine().state()
    };
    fails(&mut registry, 20);
    fails(&mut registry, 50);
    assert!(registry.on_wakeup(at(80), at(80).monotonic, |_| Duration::ZERO).is_some(), "the loop woke up late");
    assert_eq!(fails(&mut registry, 80), State::Unhealthy, "the third failure, while restarts are held");
    registry.expire(at(110));
    assert_eq!(
        registry.get("a").unwrap().machine().state(),
        State::Unhealthy,
        "the hold is over, nothing new is known"
    );
    assert_eq!(fails(&mut registry, 111), State::Stopping, "the check has failed again");
}

#[test]
fn a_reload_touches_only_what_changed() {
    let mut registry = two();
    let outcome = registry.reload(at(5), vec![wanted("a", 1), wanted("b", 2), wanted("c", 1)]);
    let touched: Vec<&str> = outcome.actions.iter().map(|action| &*action.id).collect();
    assert_eq!(touched, ["b", "c"]);
    assert_eq!(registry.get("b").unwrap().machine().state(), State::Stopping);

    let outcome = registry.reload(at(6), vec![wanted("b", 2), wanted("c", 1)]);
    assert_eq!(outcome.actions.iter().map(|action| &*action.id).collect::<Vec<_>>(), ["a"]);
    registry.handle(at(7), "a", Input::Exited(process(10), Exit::Code(0))).unwrap();
    assert!(registry.get("a").is_none(), "forgotten once it is gone");
}

#[test]
fn the_next_daemon_adopts_running_agents_restarts_dead_ones_and_stops_removed_ones() {
    let mut before = two();
    before.reload(at(1), vec![wanted("a", 1), wanted("b", 1), wanted("c", 1)]);
    before.handle(at(1), "c", Input::Spawned(process(12))).unwrap();
    let saved = decode(&encode(&before.save(boot())).unwrap()).unwrap();
    let mut next = Registry::open(at(9), boot(), vec![wanted("a", 1), wanted("b", 1)], Some(saved), &[]);
    assert_eq!(next.recorded_process("a"), Some(process(10)));
    let adopted = next.found(at(9), "a", Some(process(10))).unwrap();
    assert_eq!(
        adopted.actions.iter().flat_map(|action| action.effects).collect::<Vec<_>>(),
        [&Effect::Adopt, &Effect::Record]
    );
    next.found(at(9), "b", None).unwrap();
    next.found(at(9), "c", Some(process(12))).unwrap();
    let states = ["a", "b", "c"].map(|id| next.get(id).unwrap().machine().state());
    assert_eq!(states, [State::Starting, State::Backoff, State::Stopping]);
    let spawned = next.expire(at(9)).actions;
    assert_eq!((&*spawned[0].id, spawned[0].effects), ("b", [Effect::Record, Effect::Spawn].as_slice()));
}

#[test]
fn a_damaged_saved_registry_is_detected() {
    let text = encode(&two().save(boot())).unwrap();
    for end in 0..text.len() - 1 {
        assert!(matches!(decode(&text[..end]), Err(Damaged::Checksum)), "cut at {end}");
    }
    assert!(matches!(decode(&text.replace("pid: 10", "pid: 11")), Err(Damaged::Checksum)));
    assert!(matches!(decode(&"\0".repeat(text.len())), Err(Damaged::Checksum)));
    assert!(decode(&text).is_ok());
}

#[test]
fn a_deadline_before_the_daemon_s_start_is_no_stall() {
    let mut earlier = Registry::open(at(0), boot(), vec![wanted("a", 1)], None, &[]);
    let failed = || Input::SpawnFailed { reason: "no such file".to_owned(), own_fault: false };
    earlier.found(at(0), "a", None).unwrap();
    earlier.handle(at(0), "a", failed()).unwrap();
    earlier.expire(at(0));
    earlier.handle(at(0), "a", failed()).unwrap();
    assert_eq!(earlier.deadline(), Some(Duration::from_secs(10)), "it waits for its next start");
    let mut later = Registry::open(at(3600), boot(), vec![wanted("a", 1)], Some(earlier.save(boot())), &[]);
    assert_eq!(later.on_wakeup(at(3600), at(3600).monotonic, |_| Duration::ZERO), None);
    later.found(at(3600), "a", None).unwrap();
    assert!(!later.expire(at(3600)).actions.is_empty(), "what fell due meanwhile is done at once");
}
