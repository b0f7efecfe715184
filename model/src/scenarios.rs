//! The bounds that are checked, and what came of it.

use std::fmt;
use std::time::Duration;

use ops_runtime::clock::{Clock as _, SystemClock};
use stateright::{Checker as _, Expectation, HasDiscoveries, Model};

use crate::agent::{self, Life};
use crate::pair::{self, Pair};

/// What one search has found.
#[derive(Debug)]
pub struct Found {
    /// What went wrong in it, and how often.
    pub bounds: String,
    /// Different states.
    pub unique: usize,
    /// States that were come to.
    pub total: usize,
    /// The longest way to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The promises that were not kept, each with the shortest way there.
    pub broken: Vec<String>,
}

/// Bounds that a debug build is through with in seconds.
#[must_use]
pub fn short() -> Vec<Found> {
    let pair = pair::Bounds { delay: 1, losses: 2, ..pair::Bounds::default() };
    vec![
        check_pair(pair::Bounds { crashes: 1, hangs: 1, ..pair }),
        check_pair(pair::Bounds { crashes: 1, daemon_crashes: 1, delay: 0, ..pair }),
        check_pair(pair::Bounds { stalls: 2, ..pair }),
        check_life(agent::Bounds::default()),
    ]
}

/// Bounds that a debug build is through with in a minute.
#[must_use]
pub fn full() -> Vec<Found> {
    let pair = pair::Bounds { delay: 1, losses: 2, ..pair::Bounds::default() };
    vec![
        check_pair(pair::Bounds { crashes: 1, hangs: 1, daemon_crashes: 1, ..pair }),
        check_pair(pair::Bounds { crashes: 1, strays: 1, daemon_crashes: 1, delay: 0, ..pair }),
        check_pair(pair::Bounds { crashes: 1, foreigners: 1, daemon_crashes: 1, delay: 0, ..pair }),
        check_pair(pair::Bounds { hangs: 1, clones: 1, duplicates: 1, ..pair }),
        check_pair(pair::Bounds { hangs: 1, stalls: 2, ..pair }),
        check_pair(pair::Bounds { daemon_crashes: 1, disk_failures: 1, wishes: 1, ..pair }),
        check_life(agent::Bounds { stops: 1, ..agent::Bounds::default() }),
        check_life(agent::Bounds { failed_writes: 1, ..agent::Bounds::default() }),
        check_life(agent::Bounds { kills: 1, lost_files: 1, ..agent::Bounds::default() }),
    ]
}

/// Searches the pair.
#[must_use]
pub fn check_pair(bounds: pair::Bounds) -> Found {
    search(Pair { bounds, ..Pair::default() }, format!("{bounds:?}"))
}

/// Searches the agent.
#[must_use]
pub fn check_life(bounds: agent::Bounds) -> Found {
    search(Life { bounds, ..Life::default() }, format!("{bounds:?}"))
}

/// Searches all there is, or as far as the first promise that is not kept.
pub fn search<M>(model: M, bounds: String) -> Found
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + fmt::Debug + PartialEq + std::hash::Hash + Send + Sync + 'static,
    M::Action: Clone + fmt::Debug + PartialEq + Send + Sync + 'static,
{
    let names: Vec<&'static str> = model.properties().iter().map(|property| property.name).collect();
    let wished: Vec<bool> =
        model.properties().iter().map(|property| property.expectation == Expectation::Sometimes).collect();
    let begun = SystemClock.now().monotonic;
    let search = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let took = SystemClock.now().monotonic.saturating_sub(begun);
    let found = search.discoveries();
    let way = |name: &str| found.get(name).map(|path| format!("{name}: {:?}", path.clone().into_actions()));
    let broken = names.iter().zip(&wished).filter_map(|(name, wished)| match (way(name), wished) {
        (Some(way), false) => Some(way),
        (None, true) => Some(format!("never seen: {name}")),
        (Some(_), true) | (None, false) => None,
    });
    let broken: Vec<String> = broken.collect();
    // Counts of nothing are left out: they did not go wrong.
    let told: Vec<&str> = bounds
        .split(['{', '}', ','])
        .map(str::trim)
        .filter(|part| part.contains(": ") && !part.ends_with(": 0"))
        .collect();
    Found {
        bounds: told.join(", "),
        unique: search.unique_state_count(),
        total: search.state_count(),
        depth: search.max_depth(),
        took,
        broken,
    }
}

/// As a table in Markdown.
#[must_use]
pub fn table(found: &[Found]) -> String {
    let mut out =
        "| what goes wrong in one run | states | ways to them | depth | seconds |\n|---|---|---|---|---|\n".to_owned();
    for Found { bounds, unique, total, depth, took, .. } in found {
        out.push_str(&format!("| {bounds} | {unique} | {total} | {depth} | {:.1} |\n", took.as_secs_f64()));
    }
    out
}
