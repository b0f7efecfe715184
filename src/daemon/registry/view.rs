//! One agent as the API, the page and the command line show it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use statemachine::supervision::{Exit, LastExit, Reason, RecordedReason, State, Supervised};
use statemachine::time::Now;

use super::{Entry, Registry};
use crate::daemon::checks::{Check, CheckState, CheckStatus, explain};
use ops_protocol::Timestamp;
use ops_protocol::views::{AgentView, CheckView, ExitView, ReasonView, TransitionView};
use ops_runtime::program;

impl Registry {
    /// One agent.
    #[must_use]
    pub fn view(&self, now: Now, id: &str) -> Option<AgentView> {
        let (id, entry) = self.agents.get_key_value(id)?;
        Some(self.view_of(now, id, entry))
    }

    fn view_of(&self, now: Now, id: &str, entry: &Entry) -> AgentView {
        let machine = &entry.machine;
        let usage = entry.evidence().and_then(|evidence| evidence.usage());
        let heard = entry.evidence().and_then(|evidence| evidence.last_heartbeat());
        let waiting = machine.deadline().filter(|_| machine.state() == State::Backoff);
        AgentView {
            agent_id: id.to_string(),
            name: id.to_string(),
            kind: Cow::default(),
            labels: BTreeMap::new(),
            state: machine.state(),
            since: machine.since().wall.into(),
            cause: machine.cause().to_owned(),
            why: self.why(now, entry),
            enabled: entry.enabled,
            wanted: machine.wanted(),
            pid: machine.process().map(|process| process.pid),
            restarts: machine.restarts(),
            retries: machine.retries(),
            next_start_s: waiting.map(|at| at.saturating_sub(now.monotonic).as_secs_f64()),
            last_heartbeat: heard.and_then(|at| now.wall.checked_sub(now.monotonic.saturating_sub(at))).map(Timestamp),
            heartbeats: entry.heartbeats,
            heartbeats_rejected: entry.rejected(),
            rejected_by_reason: entry.refused.by_reason().map(|(name, count)| (name.into(), count)).collect(),
            last_rejected: entry.refused.view(),
            reason: machine.reason().map(reason),
            restarts_by_reason: restarts_by_reason(machine),
            last_exit: machine.last_exit().map(|last| exit(last, entry.last_output())),
            released: entry.released.clone(),
            depends_on: entry.depends_on.iter().map(|id| id.to_string()).collect(),
            hold: entry.hold().map(reason),
            said: entry.said.as_deref().map(str::to_owned),
            log_change: entry.log_change.map(Into::into),
            cpu_percent: usage.map(|usage| usage.cpu_percent),
            memory_bytes: usage.map(|usage| usage.memory_bytes),
            open_files: usage.and_then(|usage| usage.open_files.number()),
            signals: signals(now.monotonic, entry),
            history: machine
                .history()
                .map(|moved| TransitionView {
                    at: moved.at.wall.into(),
                    from: moved.from,
                    to: moved.to,
                    cause: moved.cause.clone(),
                })
                .collect(),
        }
    }

    /// The answer of `daemon why`.
    fn why(&self, at: Now, entry: &Entry) -> String {
        let now = at.monotonic;
        let machine = &entry.machine;
        let cause = machine.cause();
        let left = |at: Option<Duration>| at.unwrap_or(now).saturating_sub(now).as_secs();
        if let Some(why) = &entry.unproved {
            return format!(
                "unknown whether its process is alive, so nothing is started: {why}; tried again each second"
            );
        }
        match machine.state() {
            State::Stopped => format!("not running: {cause}"),
            State::Waiting => format!("waits for {}; {cause}", self.missing(entry)),
            State::Stopping => {
                format!("stopping: {cause}; killed in {} s if it does not exit", left(machine.deadline()))
            }
            State::Backoff => format!("{cause}; restart in {} s", left(machine.deadline())),
            State::Failed => format!("failed: {cause}; `{} start` runs it again", program::name()),
            State::Running => explain(&entry.check_states(now), now),
            State::Starting if entry.awaits_readiness().is_some() => entry.readiness_text(now).unwrap_or_default(),
            State::Starting => with_refused(explain(&entry.check_states(now), now), at, entry),
            State::Unhealthy => {
                let sum = with_refused(explain(&entry.check_states(now), now), at, entry);
                if let Some(hold) = entry.hold() {
                    return format!(
                        "{sum}. Restarts are held by {}: `{} release` ends that",
                        hold.reason.text,
                        program::name()
                    );
                }
                match self.held(now, entry.limits.interval) {
                    Some(hold) => {
                        let left = left(Some(hold.since + entry.limits.interval));
                        format!("{sum}. Restarts are held for {left} s: {}", hold.reason)
                    }
                    None => sum,
                }
            }
        }
    }
}

/// A refused heartbeat often explains why none counts.
fn with_refused(why: String, now: Now, entry: &Entry) -> String {
    let max_age = entry.limits.heartbeat_timeout.unwrap_or_default().max(entry.limits.interval * 2);
    match entry.refused.recent(now, max_age) {
        Some(refused) => format!("{why}; {refused}"),
        None => why,
    }
}

fn reason(recorded: &RecordedReason) -> ReasonView {
    let RecordedReason { at, reason: Reason { code, text } } = recorded;
    ReasonView { code: code.as_str().into(), text: text.clone(), at: (*at).into() }
}

fn restarts_by_reason(machine: &Supervised) -> BTreeMap<Cow<'static, str>, u64> {
    machine.restarts_by_reason().iter().map(|(code, count)| (code.as_str().into(), *count)).collect()
}

fn exit(last: &LastExit, output: &[String]) -> ExitView {
    let (code, signal) = match last.exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal)),
        Exit::Unseen => (None, None),
    };
    ExitView { pid: last.process.pid, at: last.at.into(), code, signal, output: output.to_vec() }
}

fn signals(now: Duration, entry: &Entry) -> Vec<CheckView> {
    let ago = |at: Duration| now.saturating_sub(at).as_secs_f64();
    let view = |(check, state): (Check, &CheckState)| {
        let (detail, since) = match &state.status {
            CheckStatus::Off | CheckStatus::Ok => (None, None),
            CheckStatus::Warning { reason, since } | CheckStatus::Bad { reason, since } => {
                (Some(reason.to_string()), Some(*since))
            }
            CheckStatus::Unknown { detail } | CheckStatus::NotPossible { detail } => (Some(detail.clone()), None),
        };
        let (for_s, looked_s) = (since.map(ago), state.checked_at.map(ago));
        CheckView { check, verdict: state.status.verdict(), detail, for_s, looked_s }
    };
    entry.check_states(now).iter().map(view).collect()
}
