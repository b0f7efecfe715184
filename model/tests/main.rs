//! The short bounds, and that the search can fail: each thing that is broken on purpose is found.

#![allow(clippy::panic, clippy::print_stdout, reason = "a test may fail; bounds and counts are to be seen")]

use std::collections::HashMap;

use ops_model::agent::{self, Life};
use ops_model::pair::{self, Pair};
use ops_model::scenarios::{search, short, table};
use stateright::Model;

#[test]
fn every_promise_is_kept_within_the_short_bounds() {
    let found = short();
    println!("{}", table(&found));
    for found in found {
        assert_eq!(found.broken, Vec::<String>::new(), "{}", found.bounds);
        assert!(found.unique > 1000, "{} states: too few to have seen anything", found.unique);
    }
}

fn pair() -> pair::Bounds {
    pair::Bounds { delay: 1, losses: 2, ..pair::Bounds::default() }
}

/// Breaks the pair, and insists on the promise that is then not kept.
fn breaks(broken: pair::Broken, bounds: pair::Bounds, promise: &str) {
    let found = search(Pair { bounds, broken, ..Pair::default() }, format!("{bounds:?}"));
    assert!(found.broken.iter().any(|way| way.starts_with(promise)), "{broken:?}: {:?}", found.broken);
}

#[test]
fn a_daemon_that_believes_anybody_is_found_out() {
    use pair::Broken::{AnyPid, NoIncarnation};
    breaks(AnyPid, pair::Bounds { strays: 1, ..pair() }, "a stray's word does not count");
    breaks(NoIncarnation, pair::Bounds { clones: 1, ..pair() }, "a stray's word does not count");
}

#[test]
fn a_daemon_that_does_not_notice_is_found_out() {
    use pair::Broken::{AdoptsBlindly, NeverExpires};
    breaks(NeverExpires, pair::Bounds { hangs: 1, ..pair() }, "a dead agent is noticed");
    breaks(AdoptsBlindly, pair::Bounds { crashes: 1, daemon_crashes: 1, ..pair() }, "a dead agent is noticed");
}

#[test]
fn a_daemon_that_restarts_the_healthy_is_found_out() {
    use pair::Broken::{Impatient, JudgesFirst};
    breaks(Impatient, pair(), "a healthy agent is left alone");
    breaks(JudgesFirst, pair::Bounds { stalls: 2, ..pair() }, "a healthy agent is left alone");
}

#[test]
fn a_daemon_that_starts_twice_or_takes_strangers_is_found_out() {
    use pair::Broken::{NoAdoption, NoMarks, PidAlone};
    breaks(NoAdoption, pair::Bounds { daemon_crashes: 1, ..pair() }, "there is one copy");
    breaks(NoMarks, pair::Bounds { daemon_crashes: 1, ..pair() }, "there is one copy");
    let reused = pair::Bounds { crashes: 1, foreigners: 1, daemon_crashes: 1, ..pair() };
    breaks(PidAlone, reused, "strangers are left alone");
}

/// What is assumed has to be assumed: without it, the search finds what goes wrong.
#[test]
fn no_assumption_is_idle() {
    use pair::Broken::{EarlyClone, EarlyReuse, SilentNetwork};
    breaks(EarlyClone, pair::Bounds { clones: 1, ..pair() }, "a stray's word does not count");
    breaks(EarlyReuse, pair::Bounds { crashes: 1, ..pair() }, "a stray's word does not count");
    breaks(SilentNetwork, pair(), "a healthy agent is left alone");
}

#[test]
fn an_agent_that_lies_about_the_disk_or_does_not_stop_is_found_out() {
    use agent::Broken::{EndlessPatience, HidesFailedWrites, OneIncarnationFile, PublishesFirst, ShowsThePresent};
    let fails = agent::Bounds { failed_writes: 1, ..agent::Bounds::default() };
    let faults = agent::Bounds { faults: 1, ..agent::Bounds::default() };
    let stops = agent::Bounds { stops: 1, ..agent::Bounds::default() };
    let lost = agent::Bounds { kills: 1, lost_files: 1, ..agent::Bounds::default() };
    for (broken, bounds, promise) in [
        (PublishesFirst, stops, "durable before visible"),
        (ShowsThePresent, faults, "durable before visible"),
        (HidesFailedWrites, fails, "durable before visible"),
        (EndlessPatience, stops, "Stopped is in reach"),
        (OneIncarnationFile, lost, "numbers never go back"),
    ] {
        let found = search(Life { bounds, broken }, format!("{bounds:?}"));
        assert!(found.broken.iter().any(|way| way.starts_with(promise)), "{broken:?}: {:?}", found.broken);
    }
}

/// The other side of [`ops_model::canon`]: whatever the way to it was, a state of one fingerprint has the same futures.
#[test]
fn states_that_count_as_the_same_have_the_same_futures() {
    let everything = pair::Bounds {
        crashes: 1,
        hangs: 1,
        strays: 1,
        foreigners: 1,
        clones: 1,
        daemon_crashes: 1,
        stalls: 2,
        disk_failures: 1,
        duplicates: 1,
        wishes: 1,
        ..pair()
    };
    let life = agent::Bounds { kills: 1, failed_writes: 1, faults: 1, stops: 1, lost_files: 0 };
    let lost = agent::Bounds { kills: 1, lost_files: 1, faults: 1, stops: 1, failed_writes: 0 };
    let compared = wander(&Pair { bounds: everything, ..Pair::default() }, pair::State::canonical)
        + wander(&Pair { bounds: pair::Bounds { hangs: 1, ..pair() }, ..Pair::default() }, pair::State::canonical)
        + wander(&Life { bounds: life, ..Life::default() }, agent::State::canonical)
        + wander(&Life { bounds: lost, ..Life::default() }, agent::State::canonical);
    assert!(compared > 1000, "only {compared} states were come to twice");
}

/// Goes random ways, and compares the futures of each state that was come to before. Answers with how many those were.
fn wander<M: Model>(model: &M, text: fn(&M::State) -> String) -> usize
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
                let apart = known.iter().zip(&future).find(|(one, other)| one != other);
                panic!("{}\nleads to different states: {apart:#?}", text(&state));
            }
            compared += 1;
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let Some(pick) = usize::try_from(seed >> 33).ok().and_then(|n| n.checked_rem(steps.len())) else { break };
            state = steps.swap_remove(pick).1;
        }
    }
    compared - futures.len()
}
