//! The bounds that are searched, and the results.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ops_runtime::clock::{Clock as _, SystemClock};
use stateright::{Checker as _, Expectation, HasDiscoveries, Model};

use crate::agent::{self, AgentModel};
use crate::fleet;
use crate::pair::{self, Counters, Pair, Service};

/// The result of one search.
#[derive(Debug)]
pub struct SearchResult {
    /// What may go wrong, and how often.
    pub bounds: String,
    /// Different states.
    pub unique: usize,
    /// States that were reached, each as often as there are paths to it.
    pub total: usize,
    /// The number of actions on the longest path.
    pub depth: usize,
    /// The duration of the search.
    pub took: Duration,
    /// Invariants that are violated, each with a shortest path there, and situations that never occurred.
    pub failures: Vec<String>,
}

/// Bounds that a debug build searches in seconds.
#[must_use]
pub fn short() -> Vec<SearchResult> {
    let pair = pair::Bounds { delay: 1, losses: 2, ..pair::Bounds::default() };
    vec![
        check_pair(pair::Bounds { crashes: 1, hangs: 1, ..pair }),
        check_service(Service::Http, pair::Bounds { crashes: 1, hangs: 1, ..pair }),
        check_service(Service::Tcp, pair::Bounds { crashes: 1, hangs: 1, ..pair }),
        check_service(Service::Exec, pair::Bounds { crashes: 1, hangs: 1, ..pair }),
        check_pair(pair::Bounds { crashes: 1, daemon_crashes: 1, delay: 0, ..pair }),
        check_pair(pair::Bounds { stalls: 2, ..pair }),
        check_pair(pair::Bounds { crashes: 1, helpers: 1, delay: 0, ..pair }),
        check_agent(agent::Bounds::default()),
        check_fleet(),
    ]
}

/// Bounds that a debug build searches in a few minutes.
#[must_use]
pub fn full() -> Vec<SearchResult> {
    let pair = pair::Bounds { delay: 1, losses: 2, ..pair::Bounds::default() };
    vec![
        check_pair(pair::Bounds { crashes: 1, hangs: 1, daemon_crashes: 1, ..pair }),
        check_pair(pair::Bounds { crashes: 1, stray_copies: 1, daemon_crashes: 1, delay: 0, ..pair }),
        check_pair(pair::Bounds { crashes: 1, other_programs: 1, daemon_crashes: 1, delay: 0, ..pair }),
        check_pair(pair::Bounds { hangs: 1, clone_heartbeats: 1, duplicates: 1, ..pair }),
        check_pair(pair::Bounds { hangs: 1, stalls: 2, ..pair }),
        check_pair(pair::Bounds { daemon_crashes: 1, disk_failures: 1, commands: 1, ..pair }),
        check_pair(pair::Bounds { crashes: 1, helpers: 1, daemon_crashes: 1, commands: 1, delay: 0, ..pair }),
        check_service(Service::Http, pair::Bounds { hangs: 1, stalls: 2, ..pair }),
        check_service(Service::Tcp, pair::Bounds { crashes: 1, hangs: 1, daemon_crashes: 1, delay: 0, ..pair }),
        check_service(Service::Exec, pair::Bounds { hangs: 1, helpers: 1, commands: 1, delay: 0, ..pair }),
        check_agent(agent::Bounds { stops: 1, ..agent::Bounds::default() }),
        check_agent(agent::Bounds { failed_writes: 1, ..agent::Bounds::default() }),
        check_agent(agent::Bounds { kills: 1, lost_files: 1, ..agent::Bounds::default() }),
        check_fleet(),
    ]
}

/// Searches the pair.
#[must_use]
pub fn check_pair(bounds: pair::Bounds) -> SearchResult {
    check(Pair { bounds, ..Pair::default() }, format!("{bounds:?}"))
}

/// Searches the pair, with an agent that is judged by the check of a service.
#[must_use]
pub fn check_service(service: Service, bounds: pair::Bounds) -> SearchResult {
    check(Pair { bounds, service: Some(service), ..Pair::default() }, format!("check: {service:?}, {bounds:?}"))
}

fn check(model: Pair, text: String) -> SearchResult {
    let (bounds, counters) = (model.bounds, Arc::clone(&model.counters));
    let mut result = search(model, text);
    result.failures.extend(never_seen(&bounds, &counters));
    result
}

/// What should have occurred within these bounds and has not. An invariant about it would hold without meaning.
fn never_seen(bounds: &pair::Bounds, counters: &Counters) -> Vec<String> {
    // Two restarts are allowed, see `desired` in `pair/daemon.rs`.
    let ends_three_times = bounds.crashes + bounds.hangs + bounds.daemon_crashes > 2;
    let expected: [(&str, bool, &AtomicU64); 9] = [
        ("an accepted heartbeat", true, &counters.accepted),
        ("a start", true, &counters.started),
        ("a Degraded agent", bounds.losses > 1, &counters.degraded),
        ("a refused heartbeat", bounds.stray_copies > 0, &counters.refused),
        ("an adoption", bounds.daemon_crashes > 0, &counters.adopted),
        ("a main process that leaves others", bounds.helpers > 0 && bounds.crashes > 0, &counters.remainders),
        ("a verdict that ends a process", bounds.hangs > 0, &counters.condemned),
        ("a restart hold", bounds.stalls > 0, &counters.held),
        ("an agent that is given up", ends_three_times, &counters.given_up),
    ];
    let missing = expected.into_iter().filter(|(_, expected, count)| *expected && count.load(Ordering::Relaxed) == 0);
    missing.map(|(name, ..)| format!("never seen: {name}")).collect()
}

/// Searches the agent.
#[must_use]
pub fn check_agent(bounds: agent::Bounds) -> SearchResult {
    search(AgentModel { bounds, ..AgentModel::default() }, format!("{bounds:?}"))
}

/// Runs several agents that fail together.
#[must_use]
pub fn check_fleet() -> SearchResult {
    let begun = SystemClock.now().monotonic;
    let found = fleet::search(fleet::Defect::None);
    let never = [("a restart hold", found.held), ("a restart without a hold", found.restarted_at_once)];
    let never = never.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| format!("never seen: {name}"));
    SearchResult {
        bounds: "four agents that fail together, by spread of their heartbeats".to_owned(),
        unique: found.cases,
        total: found.events,
        depth: found.longest,
        took: SystemClock.now().monotonic.saturating_sub(begun),
        failures: found.violations.into_iter().chain(never).collect(),
    }
}

/// Searches all states, or until the first violation.
pub fn search<M>(model: M, bounds: String) -> SearchResult
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + fmt::Debug + PartialEq + std::hash::Hash + Send + Sync + 'static,
    M::Action: Clone + fmt::Debug + PartialEq + Send + Sync + 'static,
{
    let properties: Vec<(&'static str, bool)> = model
        .properties()
        .iter()
        .map(|property| (property.name, property.expectation == Expectation::Sometimes))
        .collect();
    let begun = SystemClock.now().monotonic;
    let search = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let took = SystemClock.now().monotonic.saturating_sub(begun);
    let discoveries = search.discoveries();
    let path = |name: &str| discoveries.get(name).map(|path| format!("{name}: {:?}", path.clone().into_actions()));
    let failures = properties.iter().filter_map(|(name, has_to_occur)| match (path(name), has_to_occur) {
        (Some(path), false) => Some(path),
        (None, true) => Some(format!("never seen: {name}")),
        (Some(_), true) | (None, false) => None,
    });
    let failures: Vec<String> = failures.collect();
    // Bounds of 0 are left out.
    let bounds: Vec<&str> = bounds
        .split(['{', '}', ','])
        .map(str::trim)
        .filter(|part| part.contains(": ") && !part.ends_with(": 0"))
        .collect();
    SearchResult {
        bounds: bounds.join(", "),
        unique: search.unique_state_count(),
        total: search.state_count(),
        depth: search.max_depth(),
        took,
        failures,
    }
}

/// As a table in Markdown.
#[must_use]
pub fn table(results: &[SearchResult]) -> String {
    let mut out =
        "| bounds of one run | states | paths to them | depth | seconds |\n|---|---|---|---|---|\n".to_owned();
    for SearchResult { bounds, unique, total, depth, took, .. } in results {
        out.push_str(&format!("| {bounds} | {unique} | {total} | {depth} | {:.1} |\n", took.as_secs_f64()));
    }
    out
}
