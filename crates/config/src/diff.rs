//! What changes from one configuration of the daemon to another.

use std::collections::HashMap;

use super::agent::AgentConfig;
use super::daemon::{AgentSpec, DaemonConfig};
use super::key::Reload;
use super::settings::Changes;

/// What changes from `old` to `new`.
#[must_use]
pub fn diff(old: &AgentConfig, new: &AgentConfig) -> Changes {
    old.settings.changes_to(&new.settings)
}

/// What a reload has to do: the ID of each agent is in exactly one of the four lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonChanges {
    /// To be started.
    pub added: Vec<String>,
    /// To be stopped.
    pub removed: Vec<String>,
    /// To be restarted: a setting changed that takes a new process.
    pub changed: Vec<String>,
    /// To be left running.
    pub unchanged: Vec<String>,
    /// Settings of the daemon itself that changed and apply only at its next start.
    pub needs_restart: Vec<String>,
}

/// What changes from `old`, with the agents that it had, to `new`.
#[must_use]
pub fn diff_daemon<'a>(
    old: &DaemonConfig,
    agents: impl IntoIterator<Item = &'a AgentSpec>,
    new: &DaemonConfig,
) -> DaemonChanges {
    let mut before: HashMap<&str, &AgentSpec> = agents.into_iter().map(|agent| (agent.id.as_str(), agent)).collect();
    let mut changes = DaemonChanges::default();
    for agent in &new.agents {
        let list = match before.remove(agent.id.as_str()) {
            None => &mut changes.added,
            Some(old) if needs_new_process(old, agent) => &mut changes.changed,
            Some(_) => &mut changes.unchanged,
        };
        list.push(agent.id.clone());
    }
    changes.removed = before.into_keys().map(str::to_owned).collect();
    changes.removed.sort_unstable();
    let own = old.settings.changes_to(&new.settings);
    let needs_restart = own.iter().filter(|change| change.reload == Reload::Restart);
    changes.needs_restart = needs_restart.map(|change| change.key.clone()).collect();
    changes
}

fn needs_new_process(old: &AgentSpec, new: &AgentSpec) -> bool {
    old.settings.changes_to(&new.settings).iter().any(|change| change.reload != Reload::Live)
}
