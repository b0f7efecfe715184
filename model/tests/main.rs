//! The short bounds have no counterexample, and the search finds each defect.

#![allow(clippy::panic, clippy::print_stdout, reason = "a test may fail, and prints bounds and counts")]

use std::collections::HashMap;

use ops_model::agent::{self, AgentModel};
use ops_model::fleet;
use ops_model::pair::{self, Pair, Service};
use ops_model::scenarios::{search, short, table};
use stateright::Model;

#[test]
fn every_invariant_holds_within_the_short_bounds() {
    let results = short();
    println!("{}", table(&results));
    for result in results {
        assert_eq!(result.failures, Vec::<String>::new(), "{}", result.bounds);
        assert!(result.unique > 1000, "only {} states were searched", result.unique);
    }
}

fn pair() -> pair::Bounds {
    pair::Bounds { delay: 1, losses: 2, ..pair::Bounds::default() }
}

/// Expects that the search finds a defect, as a violation of this property.
fn finds(defect: pair::Defect, bounds: pair::Bounds, property: &str) {
    finds_in(Pair { bounds, defect, ..Pair::default() }, property);
}

fn finds_in(model: Pair, property: &str) {
    let defect = model.defect;
    let result = search(model, String::new());
    assert!(result.failures.iter().any(|path| path.starts_with(property)), "{defect:?}: {:?}", result.failures);
}

#[test]
fn a_daemon_that_accepts_foreign_heartbeats_is_found() {
    use pair::Defect::{AcceptsAnyPid, IgnoresSecret};
    finds(AcceptsAnyPid, pair::Bounds { stray_copies: 1, ..pair() }, "only own heartbeats count");
    finds(IgnoresSecret, pair::Bounds { clone_heartbeats: 1, ..pair() }, "only own heartbeats count");
}

#[test]
fn a_daemon_that_does_not_notice_a_dead_agent_is_found() {
    use pair::Defect::{AdoptsUnwatched, NoHeartbeatTimeout, PassesEveryCheck};
    for service in [Service::Http, Service::Tcp, Service::Exec] {
        let bounds = pair::Bounds { hangs: 1, ..pair() };
        let model = Pair { bounds, service: Some(service), defect: PassesEveryCheck, ..Pair::default() };
        finds_in(model, "a dead agent is noticed");
    }
    finds(NoHeartbeatTimeout, pair::Bounds { hangs: 1, ..pair() }, "a dead agent is noticed");
    finds(AdoptsUnwatched, pair::Bounds { crashes: 1, daemon_crashes: 1, ..pair() }, "a dead agent is noticed");
}

#[test]
fn a_daemon_that_restarts_healthy_agents_is_found() {
    use pair::Defect::{JudgesBeforeReading, ShortHeartbeatTimeout};
    finds(ShortHeartbeatTimeout, pair(), "a healthy agent is left alone");
    finds(JudgesBeforeReading, pair::Bounds { stalls: 2, ..pair() }, "a healthy agent is left alone");
}

#[test]
fn a_daemon_that_starts_twice_or_adopts_other_programs_is_found() {
    use pair::Defect::{NoAdoption, NoSupervisionTags, TrustsPid};
    finds(NoAdoption, pair::Bounds { daemon_crashes: 1, ..pair() }, "there is one copy");
    finds(NoSupervisionTags, pair::Bounds { daemon_crashes: 1, ..pair() }, "there is one copy");
    let reused = pair::Bounds { crashes: 1, other_programs: 1, daemon_crashes: 1, ..pair() };
    finds(TrustsPid, reused, "other programs are left alone");
}

#[test]
fn a_daemon_that_forgets_what_its_agents_leave_is_found() {
    use pair::Defect::ForgetsHelpers;
    let bounds = pair::Bounds { crashes: 1, helpers: 1, ..pair() };
    finds(ForgetsHelpers, bounds, "trees end whole");
}

/// Without the assumption, the search finds a counterexample.
#[test]
fn the_assumption_about_losses_is_needed() {
    use pair::Defect::UnboundedLoss;
    finds(UnboundedLoss, pair(), "a healthy agent is left alone");
}

/// An agent whose timeout is much shorter than that of the others is bad before the others are late.
#[test]
fn the_assumption_about_equal_timeouts_is_needed() {
    let found = fleet::search(fleet::Defect::UnequalTimeouts);
    assert!(found.violations.iter().any(|what| what.contains("before the look again")), "{:?}", found.violations);
}

#[test]
fn an_agent_that_is_ahead_of_its_disk_or_does_not_stop_is_found() {
    use agent::Defect::{
        HidesFailedWrites, IncarnationOnlyInStatusFile, NoWriteTimeout, PublishesCurrentState, PublishesFirst,
    };
    let fails = agent::Bounds { failed_writes: 1, ..agent::Bounds::default() };
    let faults = agent::Bounds { faults: 1, ..agent::Bounds::default() };
    let stops = agent::Bounds { stops: 1, ..agent::Bounds::default() };
    let lost = agent::Bounds { kills: 1, lost_files: 1, ..agent::Bounds::default() };
    for (defect, bounds, property) in [
        (PublishesFirst, stops, "durable before visible"),
        (PublishesCurrentState, faults, "durable before visible"),
        (HidesFailedWrites, fails, "durable before visible"),
        (NoWriteTimeout, stops, "Stopped can be reached"),
        (IncarnationOnlyInStatusFile, lost, "numbers never go back"),
    ] {
        let result = search(AgentModel { bounds, defect }, format!("{bounds:?}"));
        assert!(result.failures.iter().any(|path| path.starts_with(property)), "{defect:?}: {:?}", result.failures);
    }
}

/// [`ops_model::canon`] drops nothing that decides the future: states with the same fingerprint have the same futures.
#[test]
fn states_with_the_same_fingerprint_have_the_same_futures() {
    let everything = pair::Bounds {
        crashes: 1,
        hangs: 1,
        helpers: 1,
        stray_copies: 1,
        other_programs: 1,
        clone_heartbeats: 1,
        daemon_crashes: 1,
        stalls: 2,
        disk_failures: 1,
        duplicates: 1,
        commands: 1,
        ..pair()
    };
    let writes = agent::Bounds { kills: 1, failed_writes: 1, faults: 1, stops: 1, lost_files: 0 };
    let lost = agent::Bounds { kills: 1, lost_files: 1, faults: 1, stops: 1, failed_writes: 0 };
    let compared = walk(&Pair { bounds: everything, ..Pair::default() }, pair::State::canonical)
        + walk(&Pair { bounds: pair::Bounds { hangs: 1, ..pair() }, ..Pair::default() }, pair::State::canonical)
        + walk(&Pair { bounds: everything, service: Some(Service::Exec), ..Pair::default() }, pair::State::canonical)
        + walk(&AgentModel { bounds: writes, ..AgentModel::default() }, agent::State::canonical)
        + walk(&AgentModel { bounds: lost, ..AgentModel::default() }, agent::State::canonical);
    assert!(compared > 1000, "only {compared} states were reached twice");
}

/// Follows random paths, and compares the futures of each state that was reached before. Returns the number of such states.
fn walk<M: Model>(model: &M, text: fn(&M::State) -> String) -> usize
where
    M::Action: Copy + std::fmt::Debug,
{
    let mut futures: HashMap<String, Vec<(String, String)>> = HashMap::new();
    let (mut compared, mut seed) = (0, 1_u64);
    for _ in 0..60 {
        let mut state = model.init_states().remove(0);
        for _ in 0..60 {
            let mut steps: Vec<(String, M::State)> = Vec::new();
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            steps.extend(actions.iter().filter_map(|a| Some((format!("{a:?}"), model.next_state(&state, *a)?))));
            let future: Vec<(String, String)> = steps.iter().map(|(name, next)| (name.clone(), text(next))).collect();
            let known = futures.entry(text(&state)).or_insert_with(|| future.clone());
            if *known != future {
                let different = known.iter().zip(&future).find(|(one, other)| one != other);
                panic!("{}\nleads to different states: {different:#?}", text(&state));
            }
            compared += 1;
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let Some(pick) = usize::try_from(seed >> 33).ok().and_then(|n| n.checked_rem(steps.len())) else { break };
            state = steps.swap_remove(pick).1;
        }
    }
    compared - futures.len()
}
