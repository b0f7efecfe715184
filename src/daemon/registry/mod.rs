//! All agents that the daemon knows: told what was seen and what time it is, it answers with what is to be done.
//!
//! Pure, and the only owner of every agent's state. What one event costs does not depend on how many agents there are.

pub(crate) mod entry;
pub(crate) mod heartbeat;
pub(crate) mod opening;
pub(crate) mod saved;
pub(crate) mod terms;
pub(crate) mod view;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use statemachine::supervision::{Effect, Identity, Input, State, Transition};
use statemachine::time::Now;

pub(crate) use entry::Entry;
pub(crate) use heartbeat::{HeartbeatFacts, Rejected};
pub(crate) use saved::{SavedRegistry, decode, encode};
pub(crate) use terms::{AgentAction, AgentId, Decisions, DesiredAgent, UnknownAgent};

use super::checks::explain::summary;
use super::checks::{CHECK_TIMEOUT, CheckResult, Decision, StatusFileResult};
use super::restart_guard::{RestartGuard, RestartHold, STALL};

/// All agents, each with its machine and what was seen of it.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    // Boxed, since a table is up to half empty, and for a moment there twice as it grows.
    agents: HashMap<AgentId, Box<Entry>>,
    by_pid: HashMap<u32, AgentId>,
    /// When each agent wants to be looked after next.
    alarms: BTreeSet<(Duration, AgentId)>,
    /// How many agents are to run: those of which more than half make a mass.
    to_run: usize,
    guard: RestartGuard,
    strays: u64,
}

impl Registry {
    /// When [`Self::wake`] is due, on the monotonic clock.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Comes first in every turn of the loop, whatever woke it, so that the daemon knows that it was blind before it judges
    /// anybody. `boottime` is the clock that goes on during a suspend. A new hold is to be said aloud.
    pub fn notice(&mut self, now: Now, boottime: Duration) -> Option<RestartHold> {
        let due = self.deadline();
        self.guard.on_wakeup(now.monotonic, boottime, due)
    }

    /// Does what is due by now. Comes last in a turn of the loop, after everything that has arrived was told.
    pub fn wake(&mut self, now: Now) -> Decisions {
        let mut outcome = Decisions::default();
        let ripe = self.alarms.iter().take_while(|(at, _)| *at <= now.monotonic);
        let ripe: Vec<AgentId> = ripe.map(|(_, id)| AgentId::clone(id)).collect();
        for id in ripe {
            self.tell_into(now, &id, Input::TimePassed, &mut outcome);
            if let Some(entry) = self.agents.get_mut(&id)
                && let Some(process) = entry.check_due(now.monotonic)
            {
                outcome.due.push((AgentId::clone(&id), process));
            }
            self.judge(now, &id, &mut outcome);
        }
        outcome
    }

    /// Tells one agent's machine what happened.
    ///
    /// # Errors
    ///
    /// [`UnknownAgent`]. An event that cannot happen is in [`Decisions::refused`].
    pub fn tell(&mut self, now: Now, id: &str, input: Input) -> Result<Decisions, UnknownAgent> {
        let id = self.id(id)?;
        let mut outcome = Decisions::default();
        self.tell_into(now, &id, input, &mut outcome);
        Ok(outcome)
    }

    /// A check of `process` that was begun at `begun` has ended. News of an earlier process says nothing of the present one.
    pub fn checked(
        &mut self,
        now: Now,
        id: &str,
        process: Identity,
        begun: Duration,
        finding: CheckResult,
    ) -> Decisions {
        let mut outcome = Decisions::default();
        let Ok(id) = self.id(id) else { return outcome };
        let late = now.monotonic.saturating_sub(begun) > CHECK_TIMEOUT + STALL;
        let blind = late || self.guard.last_hold().is_some_and(|hold| begun < hold.since);
        if let Some(entry) = self.agents.get_mut(&id)
            && entry.machine.process() == Some(process)
        {
            let finding = match finding {
                CheckResult::StatusFile(StatusFileResult::Read(mut facts)) => {
                    facts.age = facts.age.map(|age| self.guard.awake_age(now.monotonic, age));
                    CheckResult::StatusFile(StatusFileResult::Read(facts))
                }
                finding @ (CheckResult::Http(_) | CheckResult::StatusFile(_) | CheckResult::Resources(_)) => finding,
            };
            entry.on_result(now.monotonic, begun, finding, blind);
            self.judge(now, &id, &mut outcome);
        }
        outcome
    }

    /// A heartbeat came. Costs the same however many agents there are, and touches nothing but memory.
    ///
    /// # Errors
    ///
    /// [`Rejected`]: it is not of an agent's present process. Counted, and otherwise without effect.
    pub fn heard(&mut self, now: Now, id: &str, heartbeat: &HeartbeatFacts) -> Result<Decisions, Rejected> {
        let Some(entry) = self.agents.get_mut(id) else {
            self.strays += 1;
            return Err(Rejected::UnknownAgent);
        };
        entry.accept(now.monotonic, heartbeat)?;
        let mut outcome = Decisions::default();
        // Of a healthy agent that goes on being healthy there is nothing to decide.
        if heartbeat.degraded || entry.machine.state() != State::Running {
            let id = self.id(id).map_err(|_| Rejected::UnknownAgent)?;
            self.judge(now, &id, &mut outcome);
        }
        Ok(outcome)
    }

    /// Whose process has this pid.
    #[must_use]
    pub fn by_pid(&self, pid: u32) -> Option<&AgentId> {
        self.by_pid.get(&pid)
    }

    /// One agent.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.agents.get(id).map(AsRef::as_ref)
    }

    /// Every agent, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&AgentId, &Entry)> {
        self.agents.iter().map(|(id, entry)| (id, entry.as_ref()))
    }

    /// How many heartbeats came from nobody that is known.
    #[must_use]
    pub const fn strays(&self) -> u64 {
        self.strays
    }

    /// Why an agent whose looks are so far apart would not be restarted now.
    #[must_use]
    pub fn held(&self, now: Duration, interval: Duration) -> Option<RestartHold> {
        self.guard.holds(now, interval)
    }

    fn id(&self, id: &str) -> Result<AgentId, UnknownAgent> {
        self.agents.get_key_value(id).map(|(id, _)| AgentId::clone(id)).ok_or(UnknownAgent)
    }

    /// Tells a machine, and keeps the indexes in step with it.
    fn tell_into(&mut self, now: Now, id: &AgentId, input: Input, outcome: &mut Decisions) {
        let Some(entry) = self.agents.get_mut(id) else { return };
        let (before, ran) = (entry.machine.process(), entry.is_to_run());
        let reaction = match entry.machine.handle(now, input) {
            Ok(reaction) => reaction,
            Err(refused) => {
                outcome.refused.push((AgentId::clone(id), refused));
                self.rearm(now, id);
                return;
            }
        };
        let after = entry.machine.process();
        if before != after {
            entry.begin(now.monotonic);
            if let Some(process) = before {
                self.by_pid.remove(&process.pid);
            }
            if let Some(process) = after {
                self.by_pid.insert(process.pid, AgentId::clone(id));
            }
        } else if reaction.effects.contains(&Effect::Adopt) {
            entry.look_anew(now.monotonic);
        }
        let runs = entry.is_to_run();
        let interval = entry.limits.interval;
        let of = self.to_run;
        self.to_run = self.to_run + usize::from(runs) - usize::from(ran);
        if reaction.transition.as_ref().is_some_and(turns_bad) {
            outcome.hold = self.guard.turned_bad(now.monotonic, interval, id, of).or(outcome.hold);
        }
        if !reaction.effects.is_empty() || reaction.transition.is_some() {
            let (effects, transition) = (reaction.effects, reaction.transition);
            outcome.actions.push(AgentAction {
                id: AgentId::clone(id),
                process: after.or(before),
                effects,
                transition,
            });
        }
        self.rearm(now, id);
        self.forget_if_gone(id);
    }

    /// Decides about one agent from what was seen of it.
    fn judge(&mut self, now: Now, id: &AgentId, outcome: &mut Decisions) {
        let Some(entry) = self.agents.get(id) else { return };
        if !entry.is_judged(now.monotonic) {
            return self.rearm(now, id);
        }
        let states = entry.check_states(now.monotonic);
        let (state, interval) = (entry.machine.state(), entry.limits.interval);
        let decision = states.decide(self.guard.last_hold().map(|hold| hold.since + interval));
        match decision {
            Decision::Nothing => {}
            Decision::Healthy if state == State::Running => {}
            Decision::Healthy => self.tell_into(now, id, Input::FoundHealthy, outcome),
            Decision::Report | Decision::Restart => {
                let why = summary(&states, now.monotonic);
                let restarts = entry.restarts_for_a_verdict();
                if state != State::Unhealthy {
                    self.tell_into(now, id, Input::FoundBad(why.clone()), outcome);
                }
                let held = self.guard.holds(now.monotonic, interval).is_some();
                if decision == Decision::Restart && restarts && !held {
                    self.tell_into(now, id, Input::Condemned(why), outcome);
                }
            }
        }
        self.rearm(now, id);
    }

    /// Sets the time at which the agent wants to be looked after next.
    fn rearm(&mut self, now: Now, id: &AgentId) {
        let hold = self.guard.last_hold();
        let Some(entry) = self.agents.get_mut(id) else { return };
        let next = entry.next_alarm(now.monotonic, hold);
        if next == entry.alarm {
            return;
        }
        if let Some(before) = std::mem::replace(&mut entry.alarm, next) {
            self.alarms.remove(&(before, AgentId::clone(id)));
        }
        if let Some(at) = next {
            self.alarms.insert((at, AgentId::clone(id)));
        }
    }

    /// An agent that the configuration does not name any more is forgotten once it is gone.
    fn forget_if_gone(&mut self, id: &AgentId) {
        let gone = |entry: &Entry| entry.removed && entry.machine.state() == State::Stopped;
        if self.get(id).is_some_and(gone)
            && let Some(at) = self.agents.remove(id).and_then(|entry| entry.alarm)
        {
            self.alarms.remove(&(at, AgentId::clone(id)));
        }
    }
}

/// Whether an agent that was well, or on its way to it, is not any more.
fn turns_bad(moved: &Transition) -> bool {
    matches!(moved.from, State::Starting | State::Running)
        && matches!(moved.to, State::Unhealthy | State::Backoff | State::Failed)
}
