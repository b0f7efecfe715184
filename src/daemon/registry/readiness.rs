//! The start of an agent with `ready`: until it is ready, only its process counts.

use std::time::Duration;

use ops_config::daemon::{Readiness, ReadyBy};
use ops_protocol::Elapsed;
use statemachine::supervision::{Identity, Reason, ReasonCode, State};
use statemachine::time::Now;

use super::{AgentId, Decisions, Entry, Registry};

/// What a process has said with the protocol of sd_notify(3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notification {
    /// It is ready: `READY=1`.
    pub ready: bool,
    /// It is stopping: `STOPPING=1`.
    pub stopping: bool,
    /// What it does, for people: `STATUS=`. Printable, and not long.
    pub status: Option<String>,
}

impl Registry {
    /// A process of the present tree of an agent has sent a notification. One of another tree has no effect.
    pub fn on_notification(&mut self, now: Now, id: &str, main: Identity, said: Notification) -> Decisions {
        let mut outcome = Decisions::default();
        let Ok(id) = self.id(id) else { return outcome };
        let Some(entry) = self.agents.get_mut(&id).filter(|entry| entry.machine.process() == Some(main)) else {
            return outcome;
        };
        if said.stopping {
            entry.said = Some("stopping".into());
        }
        if let Some(status) = said.status {
            entry.said = (!status.is_empty()).then(|| status.into());
        }
        let waits_for_it = entry.limits.readiness.is_some_and(|readiness| readiness.by == ReadyBy::Notify);
        if said.ready && waits_for_it && !entry.is_ready {
            entry.set_ready(now.monotonic);
            outcome = self.saved(&id);
            self.judge(now, &id, &mut outcome);
        }
        outcome
    }

    /// What follows for an agent that is not ready. Returns why it has to be restarted.
    pub(super) fn judge_readiness(
        &mut self,
        now: Now,
        id: &AgentId,
        readiness: Readiness,
        outcome: &mut Decisions,
    ) -> Option<Reason> {
        let entry = self.agents.get(id)?;
        (now.monotonic >= entry.ready_until(readiness)?).then_some(())?;
        let text = format!("not ready within {}: {}", Elapsed(readiness.timeout), missing(readiness.by));
        self.report_bad(now, id, Reason::new(ReasonCode::NotReady, text), true, outcome)
    }
}

impl Entry {
    /// What the start waits for, if it waits for anything but the checks.
    pub(super) fn awaits_readiness(&self) -> Option<Readiness> {
        let is_starting = matches!(self.machine.state(), State::Starting | State::Unhealthy);
        self.limits.readiness.filter(|_| is_starting && !self.is_ready)
    }

    /// Its HTTP check has passed.
    pub(super) fn on_passed_http_check(&mut self, now: Duration) {
        if self.awaits_readiness().is_some_and(|readiness| readiness.by == ReadyBy::Http) {
            self.set_ready(now);
        }
    }

    /// From now on the checks count. Heartbeats have their whole timeout to arrive.
    fn set_ready(&mut self, now: Duration) {
        self.is_ready = true;
        if let Some(evidence) = &mut self.evidence {
            evidence.end_grace(now);
        }
    }

    /// Until when it has to be ready. `None`: it has no process.
    pub(super) fn ready_until(&self, readiness: Readiness) -> Option<Duration> {
        Some(self.evidence.as_ref()?.begun() + readiness.timeout)
    }

    /// What the start waits for, for people.
    pub(super) fn readiness_text(&self, now: Duration) -> Option<String> {
        let readiness = self.awaits_readiness()?;
        let left = self.ready_until(readiness)?.saturating_sub(now).as_secs();
        Some(format!("not ready yet: {}; restarted in {left} s", missing(readiness.by)))
    }
}

const fn missing(by: ReadyBy) -> &'static str {
    match by {
        ReadyBy::Http => "its HTTP check has not passed",
        ReadyBy::Notify => "it has not sent READY=1 to the socket in NOTIFY_SOCKET",
    }
}
