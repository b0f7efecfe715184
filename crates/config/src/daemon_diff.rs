//! What changes from one configuration of the daemon to another.

use std::collections::HashMap;

use super::daemon::{AgentSpec, DaemonConfig};

/// What a reload has to do: each agent's id is in exactly one of the four lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonChanges {
    /// To be started.
    pub added: Vec<String>,
    /// To be stopped.
    pub removed: Vec<String>,
    /// To be restarted.
    pub changed: Vec<String>,
    /// Not to be touched.
    pub unchanged: Vec<String>,
    /// Settings of the daemon itself that changed, of which only a restart of it can take notice.
    pub needs_restart: Vec<&'static str>,
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
            Some(old) if old == agent => &mut changes.unchanged,
            Some(_) => &mut changes.changed,
        };
        list.push(agent.id.clone());
    }
    changes.removed = before.into_keys().map(str::to_owned).collect();
    changes.removed.sort_unstable();
    // Taken apart to the last field, so that a new one cannot be forgotten here.
    let DaemonConfig { work_dir, socket_path, http, log, agents: _ } = new;
    let own = [
        ("daemon.work_dir", *work_dir != old.work_dir),
        ("daemon.socket_path", *socket_path != old.socket_path),
        ("daemon.http", *http != old.http),
        ("daemon.log", *log != old.log),
    ];
    changes.needs_restart = own.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect();
    changes
}
