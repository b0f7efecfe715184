//! The views of the daemon and its agents. The API writes these types, and the command line reads them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use statemachine::supervision::State;

use crate::Timestamp;
pub use crate::check::{Check, CheckVerdict};

/// One agent: `GET /agents/ID`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentView {
    /// The ID.
    pub agent_id: String,
    /// The name for people. Equal to the ID if the configuration gives none; empty if an earlier daemon does not say.
    #[serde(default)]
    pub name: String,
    /// The kind of program, as in the configuration. Empty: the agent is no longer configured.
    #[serde(default, rename = "type")]
    pub kind: Cow<'static, str>,
    /// Its labels in the configuration.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The state.
    #[serde(with = "lower_case")]
    pub state: State,
    /// When it entered the state.
    pub since: Timestamp,
    /// Why it entered the state.
    pub cause: String,
    /// The summary of the checks, in one sentence.
    pub why: String,
    /// Whether the configuration lets it run.
    pub enabled: bool,
    /// Whether it is meant to run: no operator has stopped it.
    pub wanted: bool,
    /// The pid of its process.
    pub pid: Option<u32>,
    /// The number of restarts since it was configured.
    pub restarts: u64,
    /// The number of restarts in a row.
    pub retries: u32,
    /// Seconds until the next start, in the state `backoff`.
    pub next_start_s: Option<f64>,
    /// When its last heartbeat was accepted.
    pub last_heartbeat: Option<Timestamp>,
    /// The number of accepted heartbeats.
    pub heartbeats: u64,
    /// The number of heartbeats in its name that were refused.
    pub heartbeats_rejected: u64,
    /// The number of refused heartbeats for each reason that occurred.
    #[serde(default)]
    pub rejected_by_reason: BTreeMap<Cow<'static, str>, u64>,
    /// The last refused heartbeat.
    #[serde(default)]
    pub last_rejected: Option<RefusedView>,
    /// Why it was last started, stopped, restarted or not restarted.
    #[serde(default)]
    pub reason: Option<ReasonView>,
    /// The number of restarts for each reason that occurred.
    #[serde(default)]
    pub restarts_by_reason: BTreeMap<Cow<'static, str>, u64>,
    /// How its latest process that has ended did so.
    #[serde(default)]
    pub last_exit: Option<ExitView>,
    /// The processes that the last stop left running on purpose.
    #[serde(default)]
    pub released: Option<String>,
    /// The agents that have to be Running before it is started.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Since when restarts for bad checks are held, and who ordered it. `None`: they are not.
    #[serde(default)]
    pub hold: Option<ReasonView>,
    /// What its process has said of itself, as sd_notify(3) describes.
    #[serde(default)]
    pub said: Option<String>,
    /// What another program has done to its log, for people. `None`: nothing, or an earlier daemon does not say.
    #[serde(default)]
    pub log_change: Option<Cow<'static, str>>,
    /// CPU since the last sample, in percent of the machine.
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Open files, if they are limited.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// The checks, in the order of [`Check::ALL`].
    pub signals: Vec<CheckView>,
    /// The latest transitions, oldest first.
    pub history: Vec<TransitionView>,
}

impl AgentView {
    /// Removes the output of its latest process that has ended, for readers who may not see output.
    pub fn clear_output(&mut self) {
        if let Some(exit) = &mut self.last_exit {
            exit.output.clear();
        }
    }

    /// Whether it runs, or is stopped on purpose.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        match self.state {
            State::Running => true,
            State::Stopped => !self.wanted || !self.enabled,
            State::Waiting | State::Starting | State::Unhealthy => false,
            State::Stopping | State::Backoff | State::Failed => false,
        }
    }
}

/// Why an agent was last started, stopped, restarted or not restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonView {
    /// The code, from a closed list.
    pub code: Cow<'static, str>,
    /// What was seen, or who gave the command.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitView {
    /// Its pid.
    pub pid: u32,
    /// When.
    pub at: Timestamp,
    /// The exit code. Absent if a signal ended it, or if the daemon could not see how it ended.
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Its last output lines, oldest first.
    pub output: Vec<String>,
}

/// A heartbeat that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedView {
    /// When.
    pub at: Timestamp,
    /// The pid in the heartbeat.
    pub pid: u32,
    /// The code of the reason, from a closed list.
    pub reason: Cow<'static, str>,
    /// The reason, for people.
    pub message: String,
}

/// One check of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckView {
    /// The check.
    pub check: Check,
    /// Its verdict.
    pub verdict: CheckVerdict,
    /// What was seen, unless the verdict is `ok` or `off`.
    pub detail: Option<String>,
    /// For how many seconds the verdict has been the same, if known.
    pub for_s: Option<f64>,
    /// How many seconds ago it last ran.
    pub looked_s: Option<f64>,
}

/// One transition of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransitionView {
    /// When.
    pub at: Timestamp,
    /// The state before.
    #[serde(with = "lower_case")]
    pub from: State,
    /// The state after.
    #[serde(with = "lower_case")]
    pub to: State,
    /// Why.
    pub cause: String,
}

/// All agents: `GET /agents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentsView {
    /// The daemon's wall clock, so that ages do not depend on the reader's clock.
    pub now: Timestamp,
    /// The agents, sorted by ID.
    pub agents: Vec<AgentView>,
}

/// The answer to the method `why`: the part of [`AgentView`] that explains the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyView {
    /// The ID.
    pub agent_id: String,
    /// The state.
    #[serde(with = "lower_case")]
    pub state: State,
    /// When it entered the state.
    pub since: Timestamp,
    /// Why it entered the state.
    pub cause: String,
    /// The summary of the checks, in one sentence.
    pub why: String,
    /// Why it was last started, stopped, restarted or not restarted.
    pub reason: Option<ReasonView>,
    /// How its latest process that has ended did so.
    pub last_exit: Option<ExitView>,
    /// The last refused heartbeat.
    pub last_rejected: Option<RefusedView>,
    /// The processes that the last stop left running on purpose.
    pub released: Option<String>,
    /// Since when restarts for bad checks are held, and who ordered it. `None`: they are not.
    #[serde(default)]
    pub hold: Option<ReasonView>,
    /// What another program has done to its log, for people. `None`: nothing, or an earlier daemon does not say.
    #[serde(default)]
    pub log_change: Option<Cow<'static, str>>,
    /// The checks, in the order of [`Check::ALL`].
    pub signals: Vec<CheckView>,
}

impl From<AgentView> for WhyView {
    fn from(agent: AgentView) -> Self {
        let AgentView { agent_id, state, since, cause, why, signals, .. } = agent;
        let AgentView { reason, last_exit, last_rejected, released, hold, log_change, .. } = agent;
        Self {
            agent_id,
            state,
            since,
            cause,
            why,
            reason,
            last_exit,
            last_rejected,
            released,
            hold,
            log_change,
            signals,
        }
    }
}

/// A state as a key of a JSON object: in lower case, and in alphabetical order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateName(#[serde(with = "lower_case")] pub State);

impl Ord for StateName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl PartialOrd for StateName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// The daemon itself: `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonHealth {
    /// Whether the daemon can do its work. Says nothing about the agents.
    pub healthy: bool,
    /// What keeps the daemon from its work, one sentence each.
    pub faults: Vec<String>,
    /// Why restarts are held at present.
    pub held: Option<String>,
    /// The code of that reason, from a closed list.
    #[serde(default)]
    pub held_reason: Option<Cow<'static, str>>,
    /// The number of agents whose restarts for bad checks an operator holds.
    #[serde(default)]
    pub held_agents: usize,
    /// The number of agents in each state. States without agents are left out.
    pub agents: BTreeMap<StateName, usize>,
    /// The number of heartbeats from unknown agents.
    pub strays: u64,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// The pid of the daemon.
    pub pid: u32,
    /// The version of the daemon.
    pub version: Cow<'static, str>,
    /// What became of the hooks. Absent without hooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<HooksView>,
    /// When the configuration in force was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_at: Option<Timestamp>,
    /// The last reload, if it changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_refused: Option<RefusedReload>,
    /// The last reload, whether it changed anything or not. `None`: there was none, or an earlier daemon does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<LastReload>,
}

/// The last reload, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// When it ended.
    pub at: Timestamp,
    /// Whether the configuration was applied.
    pub success: bool,
    /// Who asked for it.
    pub by: String,
    /// What was changed, or why nothing was.
    pub message: String,
}

/// The answer to `POST /reload` and the method `reload`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadView {
    /// Always true. A refused reload is an error.
    pub success: bool,
    /// What was changed, in one sentence.
    pub message: String,
    /// When.
    pub reloaded_at: Option<Timestamp>,
    /// The new agents.
    pub added: Vec<String>,
    /// The agents that are no longer configured, so they stop.
    pub removed: Vec<String>,
    /// The agents that start anew.
    pub restarted: Vec<String>,
    /// The agents that start, because `enabled` became true.
    pub enabled: Vec<String>,
    /// The agents that stop, because `enabled` became false.
    pub disabled: Vec<String>,
    /// The agents whose changes do not touch a process.
    pub adjusted: Vec<String>,
    /// The number of agents without a change.
    pub unchanged: usize,
    /// The changed keys of the daemon itself.
    pub keys: Vec<String>,
    /// The warnings about the configuration.
    pub warnings: Vec<String>,
}

impl ReloadView {
    /// The lists of agents that are touched, with their names for people.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, &[String]); 7] {
        [
            ("added", &self.added),
            ("removed", &self.removed),
            ("restarted", &self.restarted),
            ("enabled", &self.enabled),
            ("disabled", &self.disabled),
            ("changed live", &self.adjusted),
            ("keys of the daemon", &self.keys),
        ]
    }

    /// What was changed, in one sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let counts = self.lists().into_iter().filter(|(_, list)| !list.is_empty());
        let mut parts: Vec<String> = counts.map(|(name, list)| format!("{} {name}", list.len())).collect();
        if parts.is_empty() {
            parts.push("nothing changed".to_owned());
        }
        parts.push(format!("{} agents unchanged", self.unchanged));
        parts.join(", ")
    }
}

/// What became of the hooks: programs and webhooks that are told of the troubles of agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HooksView {
    /// The number of hooks that wait or run.
    pub pending: usize,
    /// The number of hooks that were told.
    pub ok: u64,
    /// The number of hooks that failed.
    pub failed: u64,
    /// The number of hooks that were dropped, because too many waited.
    pub dropped: u64,
    /// The last hook that failed.
    pub last_failure: Option<HookFailureView>,
}

/// A hook that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFailureView {
    /// When.
    pub at: Timestamp,
    /// Its place in the list, and its program, or scheme and host of its webhook.
    pub hook: String,
    /// What happened.
    pub reason: String,
}

/// A reload that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedReload {
    /// When.
    pub at: Timestamp,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// The answer to a command or a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// What was done, for people.
    pub message: Cow<'static, str>,
}

/// The answer to the method `logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsView {
    /// The last output lines, oldest first.
    pub lines: Vec<String>,
    /// Whether output before these lines was left out. Only for a log that is followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Where the next look begins, for the parameter `after`. Only for a log that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The state in lower case, as the API has it.
mod lower_case {
    use serde::de::{Error as _, Unexpected};
    use serde::{Deserialize as _, Deserializer, Serializer};
    use statemachine::supervision::State;

    pub(super) fn serialize<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        State::named(&name)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&name), &"the name of a state in lower case"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_are_those_of_as_str() {
        for check in Check::ALL {
            assert_eq!(serde_json::to_value(check).unwrap(), check.as_str());
        }
        for verdict in
            [CheckVerdict::Off, CheckVerdict::Ok, CheckVerdict::Noted, CheckVerdict::Bad, CheckVerdict::Unknown]
        {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
        }
    }

    #[test]
    fn the_health_of_the_daemon_keeps_its_json() {
        let text = concat!(
            r#"{"healthy":true,"faults":[],"held":null,"held_reason":null,"held_agents":0,"agents":{"backoff":1,"failed":2,"running":3},"#,
            r#""strays":0,"uptime_s":5,"pid":7,"version":"1"}"#
        );
        let health: DaemonHealth = serde_json::from_str(text).unwrap();
        assert_eq!(health.agents.get(&StateName(State::Failed)), Some(&2));
        assert_eq!(serde_json::to_string(&health).unwrap(), text);
    }

    #[test]
    fn a_transition_keeps_its_json() {
        let text = r#"{"at":"2026-01-02T03:04:05.678Z","from":"running","to":"backoff","cause":"killed by signal 9"}"#;
        let view: TransitionView = serde_json::from_str(text).unwrap();
        assert_eq!((view.from, view.to), (State::Running, State::Backoff));
        assert_eq!(serde_json::to_string(&view).unwrap(), text);
        let unknown = text.replace("backoff", "Backoff");
        assert!(serde_json::from_str::<TransitionView>(&unknown).unwrap_err().to_string().contains("Backoff"));
    }
}
