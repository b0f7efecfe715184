//! The differences between two configurations.

use std::collections::HashMap;

use super::agent::AgentConfig;
use super::daemon::{AgentSpec, DaemonConfig};
use super::key::Reload;
use super::settings::Changes;

/// The changes from `old` to `new`.
#[must_use]
pub fn diff(old: &AgentConfig, new: &AgentConfig) -> Changes {
    old.settings.changes_to(&new.settings)
}

/// The work of a reload. The ID of each agent is in exactly one of the first four lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonChanges {
    /// The agents to start.
    pub added: Vec<String>,
    /// The agents to stop.
    pub removed: Vec<String>,
    /// The agents to restart, because a changed key needs a new process.
    pub changed: Vec<String>,
    /// The agents that keep running.
    pub unchanged: Vec<String>,
    /// Changed keys of the daemon itself that apply only at its next start.
    pub needs_restart: Vec<String>,
}

/// The changes from `old`, with its agents, to `new`.
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
    // The recorded settings have only the names of the variables.
    old.process.env != new.process.env
        || old.settings.changes_to(&new.settings).iter().any(|change| change.reload != Reload::Live)
}
