//! The differences between two configurations.

use std::collections::HashMap;

use super::agent::AgentConfig;
use super::daemon::{AgentSpec, DaemonConfig};
use super::key::Reload;
use super::settings::{Change, Changes};

/// The changes from `old` to `new`.
#[must_use]
pub fn diff(old: &AgentConfig, new: &AgentConfig) -> Changes {
    old.settings.changes_to(&new.settings)
}

/// The work of a reload. The ID of each agent is in exactly one of the first seven lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonChanges {
    /// The new agents.
    pub added: Vec<String>,
    /// The agents to stop.
    pub removed: Vec<String>,
    /// The agents to restart, because a changed key needs a new process.
    pub changed: Vec<String>,
    /// The agents to start, because `enabled` became true.
    pub enabled: Vec<String>,
    /// The agents to stop, because `enabled` became false.
    pub disabled: Vec<String>,
    /// The agents whose changed keys apply to the running process.
    pub adjusted: Vec<String>,
    /// The agents without a change.
    pub unchanged: Vec<String>,
    /// Changed keys of the daemon itself that apply at once.
    pub own: Vec<String>,
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
        let before = before.remove(agent.id.as_str());
        changes.list_of(before, agent).push(agent.id.clone());
    }
    changes.removed = before.into_keys().map(str::to_owned).collect();
    changes.removed.sort_unstable();
    let own = old.settings.changes_to(&new.settings);
    let (restart, live): (Vec<_>, Vec<_>) = own.iter().partition(|change| change.reload == Reload::Restart);
    let keys = |changes: Vec<&Change>| changes.into_iter().map(|change| change.key.clone()).collect();
    (changes.needs_restart, changes.own) = (keys(restart), keys(live));
    // The recorded settings have neither the arguments nor the addresses of hooks.
    if old.hooks != new.hooks && !changes.own.iter().any(|key| key == "hooks") {
        changes.own.push("hooks".to_owned());
    }
    changes
}

impl DaemonChanges {
    fn list_of(&mut self, old: Option<&AgentSpec>, new: &AgentSpec) -> &mut Vec<String> {
        let Some(old) = old else { return &mut self.added };
        if old.enabled != new.enabled {
            return if new.enabled { &mut self.enabled } else { &mut self.disabled };
        }
        let changes = old.settings.changes_to(&new.settings);
        // The recorded settings have only the names of the variables.
        let other_env = old.process.env != new.process.env;
        let needs_new_process = other_env || changes.iter().any(|change| change.reload != Reload::Live);
        // A disabled agent has no process that could be started anew.
        if needs_new_process && new.enabled {
            &mut self.changed
        } else if changes.is_empty() && !other_env {
            &mut self.unchanged
        } else {
            &mut self.adjusted
        }
    }
}
