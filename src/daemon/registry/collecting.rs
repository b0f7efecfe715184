//! Verdicts are collected and then judged together, so that a failure of the whole host is seen before the first restart.

use std::time::Duration;

use statemachine::supervision::{Event, Input, Reason, State, Transition};
use statemachine::time::Now;

use super::{AgentId, Decisions, Entry, Registry};
use crate::daemon::checks::Trouble;
use crate::daemon::restart_guard::{MASS, RestartGuard};

impl Registry {
    /// The checks say that an agent has to be restarted, and restarts are not held.
    pub(super) fn condemn_or_collect(&mut self, now: Now, id: &AgentId, why: Reason, outcome: &mut Decisions) {
        let Some(entry) = self.agents.get(id) else { return };
        if entry.was_held_for(&self.guard, now.monotonic) {
            // It was part of the last mass failure. It has been looked at again, and is still bad.
            self.handle_into(now, id, Input::Condemned(why), outcome);
        } else if self.agents.len() < MASS {
            self.condemn(now, id, why, outcome);
        } else {
            self.guard.collect(now.monotonic);
            self.collected.insert(AgentId::clone(id));
        }
    }

    /// Judges what was collected, once the time for it is over. This looks at every agent, at most once a second.
    pub(super) fn judge_collected(&mut self, now: Now, outcome: &mut Decisions) {
        if self.guard.collects_until().is_none_or(|until| now.monotonic < until) {
            return;
        }
        let (mut bad, mut of) = (0, 0);
        for entry in self.agents.values() {
            let is_bad = entry.counts_as_bad(&self.guard, now.monotonic);
            bad += usize::from(is_bad);
            of += usize::from(is_bad || entry.is_to_run());
        }
        outcome.hold = self.guard.judge_collected(now.monotonic, bad, of).or(outcome.hold);
        for id in std::mem::take(&mut self.collected) {
            // It may have recovered or ended meanwhile.
            if let Some(why) = self.evaluate(now, &id, outcome) {
                self.condemn(now, &id, why, outcome);
            }
            self.rearm(now, &id);
        }
    }

    fn condemn(&mut self, now: Now, id: &AgentId, why: Reason, outcome: &mut Decisions) {
        self.handle_into(now, id, Input::Condemned(why), outcome);
        if let Some(entry) = self.agents.get_mut(id) {
            entry.failed_at = Some(now.monotonic);
        }
    }
}

impl Entry {
    /// Whether it is meant to run.
    fn is_to_run(&self) -> bool {
        self.machine.wanted() && !matches!(self.machine.state(), State::Stopped | State::Failed)
    }

    fn troubles(&self, now: Duration) -> impl Iterator<Item = Trouble> {
        let evidence = self.evidence().filter(|_| self.is_judged(now));
        evidence.into_iter().flat_map(move |evidence| evidence.troubles(now, &self.limits))
    }

    /// Whether a check is bad that was bad or late already when the last mass failure was found.
    fn was_held_for(&self, guard: &RestartGuard, now: Duration) -> bool {
        self.troubles(now).any(|trouble| trouble.is_bad && guard.has_held(trouble.since))
    }

    /// Whether it counts for a mass failure: it is bad or late, or it failed within its last interval. What was part of the last
    /// mass failure does not count for another one, so one failure of the host holds restarts once.
    fn counts_as_bad(&self, guard: &RestartGuard, now: Duration) -> bool {
        let is_new = |since: Duration| !guard.has_held(since);
        let is_recent = |at: Duration| now.saturating_sub(at) <= self.limits.interval;
        let has_failed = self.failed_at.is_some_and(|at| is_recent(at) && is_new(at));
        let is_in_trouble =
            || !self.was_held_for(guard, now) && self.troubles(now).any(|trouble| is_new(trouble.since));
        self.machine.wanted() && (has_failed || is_in_trouble())
    }
}

/// Whether an agent that was to run has ended by itself, or could not be started.
pub(super) fn has_failed(moved: &Transition) -> bool {
    let has_ended = matches!(moved.event, Event::MainGone | Event::Daemonized);
    matches!(moved.from, State::Starting | State::Running | State::Unhealthy)
        && (has_ended || matches!(moved.to, State::Backoff | State::Failed))
}
