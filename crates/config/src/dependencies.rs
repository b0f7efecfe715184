//! `depends_on`: which agents have to run before another one is started.

use std::collections::HashMap;

use super::daemon::AgentSpec;
use super::key::Reload::Live;
use super::key::{Key, key};
use super::raw::ValueError;
use super::scope::Scope;
use super::suggest::nearest;
use super::values::TextList;

const DEPENDS_ON: Key<TextList> = key(
    "depends_on",
    TextList,
    Live,
    "The IDs of agents that have to be Running before this one is started. It is stopped before them.",
);

/// The agents that one agent depends on. Whether they exist is not known yet.
pub(super) fn depends_on(item: &Scope<'_>) -> Vec<String> {
    let mut ids = item.value(&DEPENDS_ON, Vec::new());
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    ids
}

/// Reports dependencies that do not exist, that are disabled, and that depend on each other.
pub(super) fn check(items: &[Scope<'_>], agents: &[Option<AgentSpec>]) {
    let by_id: HashMap<&str, &AgentSpec> = agents.iter().flatten().map(|agent| (agent.id.as_str(), agent)).collect();
    let is_complete = agents.iter().all(Option::is_some);
    let mut in_reported_cycle = Vec::new();
    for (item, agent) in items.iter().zip(agents) {
        let (Some(agent), Some(given)) = (agent, item.given(&DEPENDS_ON)) else { continue };
        for id in &agent.depends_on {
            match by_id.get(id.as_str()) {
                None if is_complete => {
                    let remedy = match nearest(id, by_id.keys().copied()) {
                        Some(similar) => format!("write `{similar}`, or add an agent with this ID"),
                        None => "add an agent with this ID, or remove it from the list".to_owned(),
                    };
                    let fact = format!("names `{id}`, and no agent has this ID");
                    item.report(&given, DEPENDS_ON.name, ValueError { fact, remedy });
                }
                Some(needed) if agent.enabled && !needed.enabled => {
                    let fact = format!("names `{id}`, which is disabled: {} waits until it is started", agent.id);
                    item.warn(&given, DEPENDS_ON.name, &fact, format!("enable {id}, or remove it from the list"));
                }
                Some(_) | None => {}
            }
        }
        if in_reported_cycle.contains(&agent.id.as_str()) {
            continue;
        }
        if let Some(cycle) = cycle(agent, &by_id) {
            let path = cycle.join(" → ");
            let fact = format!("makes agents wait for each other: {path} → {}", agent.id);
            item.report(
                &given,
                DEPENDS_ON.name,
                ValueError { fact, remedy: "remove one of these dependencies".to_owned() },
            );
            in_reported_cycle.extend(cycle);
        }
    }
}

/// The agents on a way from `start` back to itself, beginning with it.
fn cycle<'a>(start: &'a AgentSpec, by_id: &HashMap<&'a str, &'a AgentSpec>) -> Option<Vec<&'a str>> {
    let mut reached_from: HashMap<&str, &str> = HashMap::new();
    let mut open = vec![start];
    while let Some(agent) = open.pop() {
        for id in &agent.depends_on {
            if *id == start.id {
                let mut path = vec![agent.id.as_str()];
                while let Some(before) = path.last().and_then(|id| reached_from.get(id)) {
                    path.push(before);
                }
                path.reverse();
                return Some(path);
            }
            if let Some(next) = by_id.get(id.as_str())
                && !reached_from.contains_key(next.id.as_str())
            {
                reached_from.insert(&next.id, &agent.id);
                open.push(next);
            }
        }
    }
    None
}
