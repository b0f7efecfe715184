//! One agent as the API, the page and the command line show it.

use std::time::Duration;

use serde::Serialize;
use statemachine::supervision::State;
use statemachine::time::Now;

use super::{Entry, Registry};
use crate::daemon::verdict::{CheckStatus, explain};
use ops_protocol::Timestamp;

/// One agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentView {
    /// Who.
    pub agent_id: String,
    /// `stopped`, `starting`, `running`, `unhealthy`, `stopping`, `backoff` or `failed`.
    pub state: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// Why it is in that state.
    pub cause: String,
    /// What its signals add up to, in a sentence.
    pub why: String,
    /// Whether the configuration lets it run.
    pub enabled: bool,
    /// Whether it is to run: no stop that was asked for stands.
    pub wanted: bool,
    /// Its process.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u64,
    /// How often in a row.
    pub retries: u32,
    /// Seconds until it is started again, in `backoff`.
    pub next_start_s: Option<f64>,
    /// When it was last heard of.
    pub last_heartbeat: Option<Timestamp>,
    /// How many heartbeats were accepted.
    pub heartbeats: u64,
    /// How many came in its name and were refused.
    pub heartbeats_rejected: u64,
    /// CPU since the last sample, in percent of the machine.
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
    /// The five signals side by side.
    pub signals: Vec<SignalView>,
    /// Its latest transitions, oldest first.
    pub history: Vec<TransitionView>,
}

/// One signal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SignalView {
    /// `process`, `heartbeat`, `http`, `status_file` or `resources`.
    pub check: &'static str,
    /// `ok`, `bad`, `noted`, `unknown` or `off`.
    pub verdict: &'static str,
    /// What was seen, unless it is `ok` or `off`.
    pub detail: Option<String>,
    /// For how many seconds it has been so, where that is known.
    pub for_s: Option<f64>,
    /// How many seconds ago it was last looked at.
    pub looked_s: Option<f64>,
}

/// One transition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransitionView {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub from: &'static str,
    /// To where.
    pub to: &'static str,
    /// Why.
    pub cause: String,
}

impl Registry {
    /// One agent.
    #[must_use]
    pub fn view(&self, now: Now, id: &str) -> Option<AgentView> {
        let (id, entry) = self.agents.get_key_value(id)?;
        Some(self.view_of(now, id, entry))
    }

    /// All agents, by id.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Vec<AgentView> {
        let mut views: Vec<AgentView> = self.iter().map(|(id, entry)| self.view_of(now, id, entry)).collect();
        views.sort_by(|a, b| a.agent_id.cmp(&b.agent_id));
        views
    }

    fn view_of(&self, now: Now, id: &str, entry: &Entry) -> AgentView {
        let machine = &entry.machine;
        let usage = entry.evidence().and_then(|evidence| evidence.usage());
        let heard = entry.evidence().and_then(|evidence| evidence.last_heartbeat());
        let waiting = machine.deadline().filter(|_| machine.state() == State::Backoff);
        AgentView {
            agent_id: id.to_string(),
            state: machine.state().as_str(),
            since: machine.since().wall.into(),
            cause: machine.cause().to_owned(),
            why: self.why(now.monotonic, entry),
            enabled: entry.enabled,
            wanted: machine.wanted(),
            pid: machine.process().map(|process| process.pid),
            restarts: machine.restarts(),
            retries: machine.retries(),
            next_start_s: waiting.map(|at| at.saturating_sub(now.monotonic).as_secs_f64()),
            last_heartbeat: heard.and_then(|at| now.wall.checked_sub(now.monotonic.saturating_sub(at))).map(Timestamp),
            heartbeats: entry.heartbeats,
            heartbeats_rejected: entry.rejected,
            cpu_percent: usage.map(|usage| usage.cpu_percent),
            memory_bytes: usage.map(|usage| usage.memory_bytes),
            signals: signals(now.monotonic, entry),
            history: machine
                .history()
                .map(|moved| TransitionView {
                    at: moved.at.wall.into(),
                    from: moved.from.as_str(),
                    to: moved.to.as_str(),
                    cause: moved.cause.clone(),
                })
                .collect(),
        }
    }

    /// The answer of `daemon why`.
    fn why(&self, now: Duration, entry: &Entry) -> String {
        let machine = &entry.machine;
        let cause = machine.cause();
        let left = |at: Option<Duration>| at.unwrap_or(now).saturating_sub(now).as_secs();
        match machine.state() {
            State::Stopped => format!("not running: {cause}"),
            State::Stopping => format!("told to end: {cause}; killed in {} s if it does not", left(machine.deadline())),
            State::Backoff => format!("{cause}; started again in {} s", left(machine.deadline())),
            State::Failed => format!("given up: {cause}; it stays down until it is told to start"),
            State::Starting | State::Running => explain(&entry.readings(now), now),
            State::Unhealthy => {
                let sum = explain(&entry.readings(now), now);
                match self.held(now, entry.limits.interval) {
                    Some(hold) => {
                        let left = left(Some(hold.since + entry.limits.interval));
                        format!("{sum}. Not restarted for the next {left} s, since {}", hold.doubt)
                    }
                    None => sum,
                }
            }
        }
    }
}

fn signals(now: Duration, entry: &Entry) -> Vec<SignalView> {
    let ago = |at: Duration| now.saturating_sub(at).as_secs_f64();
    let readings = entry.readings(now);
    readings
        .iter()
        .map(|(check, reading)| {
            let (verdict, detail, since) = match &reading.signal {
                CheckStatus::Off => ("off", None, None),
                CheckStatus::Ok => ("ok", None, None),
                CheckStatus::Warning { what, since } => ("noted", Some(what.clone()), Some(*since)),
                CheckStatus::Bad { why, since } => ("bad", Some(why.clone()), Some(*since)),
                CheckStatus::Unknown { why } => ("unknown", Some(why.clone()), None),
            };
            let (for_s, looked_s) = (since.map(ago), reading.looked.map(ago));
            SignalView { check: check.as_str(), verdict, detail, for_s, looked_s }
        })
        .collect()
}
