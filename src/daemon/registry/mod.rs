//! All supervised agents. Pure: it gets events and the time, and returns [`Decisions`].
//!
//! It is the only owner of the agents' states. The cost of one event does not depend on the number of agents, except that
//! collected verdicts are judged together, at most once a second.

mod collecting;
pub(crate) mod dependencies;
pub(crate) mod entry;
pub(crate) mod heartbeat;
mod holding;
pub(crate) mod opening;
pub(crate) mod readiness;
mod refused;
pub(crate) mod saved;
pub(crate) mod terms;
pub(crate) mod view;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use statemachine::supervision::{Effect, Exit, Identity, Input, Reason, State};
use statemachine::time::Now;

pub(crate) use dependencies::StopRefused;
pub(crate) use entry::Entry;
pub(crate) use heartbeat::{HeartbeatFacts, Proof, Rejected};
pub(crate) use readiness::Notification;
pub(crate) use saved::{SavedAgent, SavedRegistry, decode, encode};
pub(crate) use terms::{AgentAction, AgentId, Decisions, DesiredAgent, UnknownAgent};

use dependencies::Dependencies;

use super::checks::explain::summary;
use super::checks::{CheckResult, Decision, StatusFileResult};
use super::restart_guard::{RestartGuard, RestartHold, STALL};

/// All agents, each with its machine and the evidence about it.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    // Boxed, because a hash table is up to half empty, and exists twice while it grows.
    agents: HashMap<AgentId, Box<Entry>>,
    by_pid: HashMap<u32, AgentId>,
    /// The next time at which each agent has to be judged.
    deadlines: BTreeSet<(Duration, AgentId)>,
    /// The agents whose verdicts wait to be judged together.
    collected: BTreeSet<AgentId>,
    guard: RestartGuard,
    dependencies: Dependencies,
    strays: u64,
}

impl Registry {
    /// When [`Self::expire`] is due, on the monotonic clock.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let agents = self.deadlines.first().map(|(at, _)| *at);
        [agents, self.guard.collects_until()].into_iter().flatten().min()
    }

    /// Has to be called first in every turn of the loop, so that a stall is known before an agent is judged. `boottime` is the
    /// clock that counts suspends. `worked` tells the CPU time that the loop's thread has used since a deadline. Returns a new
    /// hold, which has to be logged.
    pub fn on_wakeup(
        &mut self,
        now: Now,
        boottime: Duration,
        worked: impl FnOnce(Duration) -> Duration,
    ) -> Option<RestartHold> {
        let due = self.deadline();
        let hold = self.guard.on_wakeup(now.monotonic, boottime, due, worked)?;
        for id in std::mem::take(&mut self.collected) {
            self.rearm(now, &id);
        }
        Some(hold)
    }

    /// Handles what is due by now. Has to be called last in a turn of the loop, after everything that has arrived.
    pub fn expire(&mut self, now: Now) -> Decisions {
        let mut outcome = Decisions::default();
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now.monotonic);
        let due: Vec<AgentId> = due.map(|(_, id)| AgentId::clone(id)).collect();
        for id in due {
            self.handle_into(now, &id, Input::TimePassed, &mut outcome);
            if let Some(entry) = self.agents.get_mut(&id)
                && let Some(process) = entry.check_due(now.monotonic)
            {
                outcome.due.push((AgentId::clone(&id), process));
            }
            self.judge(now, &id, &mut outcome);
        }
        self.judge_collected(now, &mut outcome);
        outcome
    }

    /// Passes an input to the machine of one agent.
    ///
    /// # Errors
    ///
    /// [`UnknownAgent`]. An event that cannot happen is in [`Decisions::refused`].
    pub fn handle(&mut self, now: Now, id: &str, input: Input) -> Result<Decisions, UnknownAgent> {
        let id = self.id(id)?;
        let mut outcome = Decisions::default();
        self.handle_into(now, &id, input, &mut outcome);
        Ok(outcome)
    }

    /// The main process of an agent has ended, and others of its tree are left. They are stopped before anything else.
    pub fn main_gone(&mut self, now: Now, id: &str, process: Identity, exit: Exit, left: usize) -> Decisions {
        let mut outcome = Decisions::default();
        let Ok(id) = self.id(id) else { return outcome };
        let daemonized = self.get(&id).is_some_and(|entry| entry.went_to_background(now.monotonic, exit));
        self.handle_into(now, &id, Input::MainGone { process, exit, left, daemonized }, &mut outcome);
        outcome
    }

    /// A check of `process` that began at `begun` has ended. The result is ignored if the agent has another process by now.
    pub fn on_check_result(
        &mut self,
        now: Now,
        id: &str,
        process: Identity,
        begun: Duration,
        finding: CheckResult,
    ) -> Decisions {
        let mut outcome = Decisions::default();
        let Ok(id) = self.id(id) else { return outcome };
        if let Some(entry) = self.agents.get_mut(&id)
            && entry.machine.process() == Some(process)
        {
            let limit = finding.check().time_limit(&entry.limits);
            let late = now.monotonic.saturating_sub(begun) > limit + STALL;
            let stalled = late || self.guard.stood_still_after(begun);
            let finding = match finding {
                CheckResult::StatusFile(StatusFileResult::Read(mut facts)) => {
                    facts.age = facts.age.map(|age| self.guard.awake_age(now.monotonic, age));
                    CheckResult::StatusFile(StatusFileResult::Read(facts))
                }
                finding @ (CheckResult::Http(_)
                | CheckResult::Tcp(_)
                | CheckResult::Exec(_)
                | CheckResult::StatusFile(_)
                | CheckResult::Resources(_)) => finding,
            };
            entry.on_result(now.monotonic, begun, finding, stalled);
            self.judge(now, &id, &mut outcome);
        }
        outcome
    }

    /// A heartbeat arrived. The cost does not depend on the number of agents, and only memory is touched.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if it is not from an agent's present process. It is counted and has no other effect.
    pub fn on_heartbeat(&mut self, now: Now, id: &str, heartbeat: &HeartbeatFacts) -> Result<Decisions, Rejected> {
        let Some(entry) = self.agents.get_mut(id) else {
            self.strays += 1;
            return Err(Rejected::UnknownAgent);
        };
        let had_proved = entry.has_proved;
        entry.accept(now, heartbeat)?;
        let proves_first = entry.has_proved && !had_proved;
        // There is nothing to decide for a healthy agent that stays healthy.
        let is_news = heartbeat.degraded || entry.machine.state() != State::Running;
        if !proves_first && !is_news {
            return Ok(Decisions::default());
        }
        let id = self.id(id).map_err(|_| Rejected::UnknownAgent)?;
        let mut outcome = if proves_first { self.saved(&id) } else { Decisions::default() };
        if is_news {
            self.judge(now, &id, &mut outcome);
        }
        Ok(outcome)
    }

    /// The last output lines of a process of an agent that has ended. `true`: they are those of its latest process.
    pub fn set_last_output(&mut self, id: &str, process: Identity, lines: Vec<String>) -> bool {
        let Some(entry) = self.agents.get_mut(id) else { return false };
        let ended = entry.machine.last_exit().map(|last| last.process);
        let is_latest = [entry.machine.process(), ended].contains(&Some(process));
        if is_latest {
            entry.last_output = Some((process, lines));
        }
        is_latest
    }

    /// What another program has done to the log of an agent, for people.
    pub fn set_log_change(&mut self, id: &str, change: Option<&'static str>) {
        if let Some(entry) = self.agents.get_mut(id) {
            entry.log_change = change;
        }
    }

    /// The processes that the stop of a tree has left running on purpose.
    pub fn set_released(&mut self, id: &str, process: Identity, released: String) {
        if let Some(entry) = self.agents.get_mut(id).filter(|entry| entry.machine.tree() == Some(process)) {
            entry.released = Some(released);
        }
    }

    /// An operator had this signal sent to the process of an agent.
    pub fn set_signalled(&mut self, id: &str, signal: i32, by: &str) {
        if let Some(entry) = self.agents.get_mut(id) {
            entry.machine.set_signalled(signal, by.to_owned());
        }
    }

    /// The agent whose main process has this pid.
    #[must_use]
    pub fn by_pid(&self, pid: u32) -> Option<&AgentId> {
        self.by_pid.get(&pid)
    }

    /// One agent.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.agents.get(id).map(AsRef::as_ref)
    }

    /// All agents, unsorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&AgentId, &Entry)> {
        self.agents.iter().map(|(id, entry)| (id, entry.as_ref()))
    }

    /// The number of heartbeats from unknown agents.
    #[must_use]
    pub const fn strays(&self) -> u64 {
        self.strays
    }

    /// The hold that suspends restarts of an agent with this check interval.
    #[must_use]
    pub fn held(&self, now: Duration, interval: Duration) -> Option<RestartHold> {
        self.guard.holds(now, interval)
    }

    fn id(&self, id: &str) -> Result<AgentId, UnknownAgent> {
        self.agents.get_key_value(id).map(|(id, _)| AgentId::clone(id)).ok_or_else(|| UnknownAgent::new(id))
    }

    /// Passes an input to a machine, and updates the indexes.
    fn handle_into(&mut self, now: Now, id: &AgentId, input: Input, outcome: &mut Decisions) {
        if matches!(input, Input::StartRequested(_) | Input::StopRequested(_) | Input::RestartRequested(_)) {
            self.forget_waiting_stop(id);
        }
        let Some(entry) = self.agents.get_mut(id) else { return };
        let (before, tree) = (entry.machine.process(), entry.machine.tree());
        if matches!(
            input,
            Input::StopRequested(_) | Input::RestartRequested(_) | Input::SpecChanged(_) | Input::Condemned(_)
        ) {
            let hangs = entry.hangs(now.monotonic);
            entry.machine.set_hangs(hangs);
        }
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
            entry.reset_evidence(now.monotonic);
        }
        if reaction.transition.as_ref().is_some_and(|moved| moved.to == State::Running) {
            entry.is_ready = true;
        }
        if reaction.effects.contains(&Effect::StopTree) {
            // What an earlier stop left running is not what this one leaves.
            entry.released = None;
        }
        if reaction.transition.as_ref().is_some_and(collecting::has_failed) {
            entry.failed_at = Some(now.monotonic);
        }
        let has_moved = reaction.transition.is_some();
        if !reaction.effects.is_empty() || has_moved {
            let (effects, transition) = (reaction.effects, reaction.transition);
            outcome.actions.push(AgentAction {
                id: AgentId::clone(id),
                process: entry.machine.tree().or(tree),
                effects,
                transition,
            });
        }
        self.rearm(now, id);
        if has_moved {
            self.after_transition(now, id, outcome);
        }
        self.forget_if_gone(id);
    }

    /// Judges one agent by its checks.
    fn judge(&mut self, now: Now, id: &AgentId, outcome: &mut Decisions) {
        if let Some(why) = self.evaluate(now, id, outcome) {
            self.condemn_or_collect(now, id, why, outcome);
        }
        self.rearm(now, id);
    }

    /// Tells the machine what the checks say. Returns why the agent has to be restarted, if restarts are not held.
    fn evaluate(&mut self, now: Now, id: &AgentId, outcome: &mut Decisions) -> Option<Reason> {
        let entry = self.agents.get(id).filter(|entry| entry.is_judged(now.monotonic))?;
        if let Some(readiness) = entry.awaits_readiness() {
            return self.judge_readiness(now, id, readiness, outcome);
        }
        let states = entry.check_states(now.monotonic);
        let (state, interval) = (entry.machine.state(), entry.limits.interval);
        let decision = states.decide(self.guard.last_hold().map(|hold| hold.since + interval));
        match decision {
            Decision::Nothing => {}
            Decision::Healthy if state == State::Running => {}
            // A check that the daemon cannot run clears nothing, but keeps no agent Starting either.
            Decision::HealthyAsFarAsKnown if state != State::Starting => {}
            Decision::Healthy | Decision::HealthyAsFarAsKnown => {
                self.handle_into(now, id, Input::FoundHealthy, outcome)
            }
            Decision::Report | Decision::Restart => {
                let why = Reason::new(states.code(), summary(&states, now.monotonic));
                return self.report_bad(now, id, why, decision == Decision::Restart, outcome);
            }
        }
        None
    }

    /// Tells the machine that something is bad. Returns why the agent has to be restarted, if it has to be and may be.
    fn report_bad(
        &mut self,
        now: Now,
        id: &AgentId,
        why: Reason,
        is_verdict: bool,
        outcome: &mut Decisions,
    ) -> Option<Reason> {
        let entry = self.agents.get(id)?;
        let is_held = entry.hold.is_some() || self.guard.holds(now.monotonic, entry.limits.interval).is_some();
        let restarts = is_verdict && entry.restarts_for_a_verdict() && !is_held;
        if entry.machine.state() != State::Unhealthy {
            self.handle_into(now, id, Input::FoundBad(why.text.clone()), outcome);
        }
        restarts.then_some(why)
    }

    /// Sets the next time at which the agent has to be judged.
    fn rearm(&mut self, now: Now, id: &AgentId) {
        let hold = self.guard.last_hold();
        let Some(entry) = self.agents.get_mut(id) else { return };
        let next = entry.next_deadline(now.monotonic, hold);
        if next == entry.deadline {
            return;
        }
        if let Some(before) = std::mem::replace(&mut entry.deadline, next) {
            self.deadlines.remove(&(before, AgentId::clone(id)));
        }
        if let Some(at) = next {
            self.deadlines.insert((at, AgentId::clone(id)));
        }
    }

    /// Removes an agent that is no longer configured, once it is stopped.
    fn forget_if_gone(&mut self, id: &AgentId) {
        let gone = |entry: &Entry| {
            let is_down = matches!(entry.machine.state(), State::Stopped | State::Failed);
            entry.removed && is_down && entry.machine.remainder().is_none()
        };
        if self.get(id).is_some_and(gone)
            && let Some(at) = self.agents.remove(id).and_then(|entry| entry.deadline)
        {
            self.deadlines.remove(&(at, AgentId::clone(id)));
        }
    }
}
