//! How the loop performs effects: in order for each agent, slow ones as tasks beside the loop.

use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use statemachine::supervision::{Effect, Exit, Identity, State, Transition};

use super::saves::Ticket;
use super::{EventLoop, LoopEvent};
use crate::daemon::checks::ScheduledCheck;
use crate::daemon::effects::Effects;
use crate::daemon::registry::{AgentAction, AgentId, Decisions, Registry};
use ops_runtime::clock::Clock;

/// The number of output lines of a process that are kept when it ends.
const LAST_OUTPUT_LINES: usize = 10;

/// An action of one agent that waits for its turn.
#[derive(Debug)]
pub(super) enum PendingAction {
    /// Wait until the registry is saved.
    Saved(Ticket),
    /// Perform one effect, on this process if there is one.
    Do(Effect, Option<Identity>),
}

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    /// Performs everything that was decided.
    pub(super) fn carry_out(&mut self) {
        while let Some(Decisions { actions, due, hold, held, refused }) = self.shared_registry.next_decisions() {
            if let Some(hold) = hold {
                tracing::warn!(reason = %hold.reason, "restarts are held for one interval; then the agents are checked again");
                self.report_hold(hold);
            }
            for id in held {
                self.report_hold_of(&id);
            }
            for (id, refused) in refused {
                self.shared_registry.count(|counts| counts.refused_events += 1);
                tracing::warn!(agent_id = %id, event = ?refused.event, state = ?refused.state, "event refused");
            }
            for action in actions {
                self.enqueue(action);
            }
            for (id, process) in due {
                self.begin_checks(&id, process);
            }
        }
        if self.saves.begin(self.clock.now().monotonic) {
            self.save();
        }
    }

    fn enqueue(&mut self, action: AgentAction) {
        let AgentAction { id, process, effects, transition } = action;
        if let Some(transition) = transition {
            self.state_changed = true;
            self.shared_registry.count(|counts| counts.transitions += 1);
            log_transition(&id, &transition);
            self.report_transition(&id, process, &transition);
        }
        let now = self.clock.now().monotonic;
        let steps = effects.iter().enumerate().filter_map(|(place, effect)| match effect {
            Effect::Record if place + 1 == effects.len() => {
                self.saves.change(now);
                None
            }
            Effect::Record => Some(PendingAction::Saved(self.saves.change_before(now))),
            Effect::Spawn | Effect::Adopt | Effect::StopTree | Effect::KillTree | Effect::Reap => {
                Some(PendingAction::Do(*effect, process))
            }
        });
        let steps: Vec<PendingAction> = steps.collect();
        self.pending.entry(AgentId::clone(&id)).or_default().extend(steps);
        self.advance(&id);
    }

    /// Performs the next actions of an agent, up to one that waits.
    pub(super) fn advance(&mut self, id: &AgentId) {
        while let Some(steps) = self.pending.get_mut(id) {
            match steps.front() {
                Some(PendingAction::Saved(ticket)) if !self.saves.allows(*ticket) => return,
                Some(_) => {}
                None => {
                    self.pending.remove(id);
                    return;
                }
            }
            if let Some(PendingAction::Do(effect, process)) = steps.pop_front() {
                self.perform(id, effect, process);
            }
        }
    }

    fn perform(&mut self, id: &AgentId, effect: Effect, process: Option<Identity>) {
        match (effect, process) {
            (Effect::Spawn, _) => self.spawn(id),
            (Effect::Adopt, Some(process)) => {
                tracing::info!(agent_id = %id, pid = process.pid, "process adopted");
                self.watch(id, process);
            }
            (Effect::StopTree, Some(process)) => self.stop_tree(id, process),
            (Effect::KillTree, Some(process)) => {
                tracing::warn!(agent_id = %id, pid = process.pid, "SIGKILL sent to the process tree");
                self.kill(id, process);
            }
            (Effect::Reap, Some(process)) => self.system.reap(process),
            (Effect::Adopt | Effect::StopTree | Effect::KillTree | Effect::Reap, None) | (Effect::Record, _) => {}
        }
    }

    fn spawn(&mut self, id: &AgentId) {
        self.spawning += 1;
        let (id, system, outbox) = (AgentId::clone(id), Rc::clone(&self.system), self.outbox.clone());
        let start = async move {
            let result = system.spawn(AgentId::clone(&id)).await;
            let _ = outbox.try_send(LoopEvent::Spawned(id, result));
        };
        self.executor.spawn(start).detach();
    }

    /// Sends the stop signal beside the loop, because the members of the tree have to be found first.
    fn stop_tree(&self, id: &AgentId, main: Identity) {
        let settings = |registry: &Registry| registry.get(id).map(|entry| entry.machine().policy().stop);
        let settings = self.shared_registry.read(settings).unwrap_or_default();
        let signal = settings.signal.as_str();
        tracing::info!(agent_id = %id, pid = main.pid, signal, "stop signal sent to the process tree");
        let (id, system, outbox) = (AgentId::clone(id), Rc::clone(&self.system), self.outbox.clone());
        let stop = async move {
            if let Some(released) = system.stop(main, settings).await {
                let _ = outbox.try_send(LoopEvent::Released(id, main, released));
            }
        };
        self.executor.spawn(stop).detach();
    }

    /// Kills a tree beside the loop, and reports what does not end.
    pub(super) fn kill(&self, id: &AgentId, main: Identity) {
        let (id, system, outbox) = (AgentId::clone(id), Rc::clone(&self.system), self.outbox.clone());
        let kill = async move {
            if let Some(left) = system.kill(main).await {
                let _ = outbox.try_send(LoopEvent::Unkillable(id, main, left));
            }
        };
        self.executor.spawn(kill).detach();
    }

    /// Reports the exit of a main process.
    pub(super) fn watch(&self, id: &AgentId, process: Identity) {
        let (id, system, outbox) = (AgentId::clone(id), Rc::clone(&self.system), self.outbox.clone());
        let watch = async move {
            let exit = system.main_exited(process).await;
            let _ = outbox.try_send(LoopEvent::MainExited(id, process, exit));
        };
        self.executor.spawn(watch).detach();
    }

    /// Reports the end of a tree whose main process ended so.
    pub(super) fn await_end_of_tree(&self, id: &AgentId, main: Identity, exit: Exit) {
        let (id, system, outbox) = (AgentId::clone(id), Rc::clone(&self.system), self.outbox.clone());
        let watch = async move {
            system.emptied(main).await;
            let _ = outbox.try_send(LoopEvent::Emptied(id, main, exit));
        };
        self.executor.spawn(watch).detach();
    }

    /// Begins every configured check of an agent that is not still running.
    fn begin_checks(&mut self, id: &AgentId, process: Identity) {
        let checks = self.shared_registry.read(|registry| {
            let entry = registry.get(id)?;
            let limits = entry.limits();
            let checks = ScheduledCheck::configured(limits).map(|check| (check, check.time_limit(limits)));
            Some(checks.collect::<Vec<_>>())
        });
        for (check, limit) in checks.into_iter().flatten() {
            match self.checking.entry((AgentId::clone(id), check)) {
                Entry::Occupied(mut in_progress) => *in_progress.get_mut() = true,
                Entry::Vacant(free) => {
                    free.insert(false);
                    self.executor.spawn(self.one_check(AgentId::clone(id), process, check, limit)).detach();
                }
            }
        }
    }

    /// A check has ended. One that was due meanwhile begins now, so that a hang is noticed after the fewest possible failures.
    pub(super) fn check_ended(&mut self, id: AgentId, check: ScheduledCheck) {
        let key = (id, check);
        let was_due = self.checking.remove(&key).unwrap_or_default();
        let next = |registry: &Registry| {
            let entry = registry.get(&key.0).filter(|entry| was_due && entry.machine().state().is_judged())?;
            let is_on = ScheduledCheck::configured(entry.limits()).any(|configured| configured == check);
            Some((entry.machine().process().filter(|_| is_on)?, check.time_limit(entry.limits())))
        };
        if let Some((process, limit)) = self.shared_registry.read(next) {
            self.executor.spawn(self.one_check(AgentId::clone(&key.0), process, check, limit)).detach();
            self.checking.insert(key, false);
        }
    }

    /// One check, which may take until `limit`.
    fn one_check(
        &self,
        id: AgentId,
        process: Identity,
        check: ScheduledCheck,
        limit: Duration,
    ) -> impl Future<Output = ()> + use<C, W> {
        let (clock, system, outbox) = (self.clock.clone(), Rc::clone(&self.system), self.outbox.clone());
        let permits = Rc::clone(&self.permits);
        async move {
            let _permit = permits.acquire().await;
            let begun = clock.now().monotonic;
            let expiry = async {
                clock.sleep_until(begun + limit).await;
                check.timed_out(limit)
            };
            let finding = system.check(AgentId::clone(&id), process, check).or(expiry).await;
            let _ = outbox.try_send(LoopEvent::Checked { id, process, check, begun, finding });
        }
    }

    fn save(&self) {
        let saved = self.shared_registry.read(|registry| registry.save(self.boot));
        let (system, outbox) = (Rc::clone(&self.system), self.outbox.clone());
        let save = async move {
            let result = system.save(saved).await;
            let _ = outbox.try_send(LoopEvent::Saved(result));
        };
        self.executor.spawn(save).detach();
    }

    /// Reads the last output of a process that has ended. `asked`: the daemon had asked it to end.
    pub(super) fn read_last_output(&self, id: &AgentId, process: Identity, asked: bool) {
        let (id, outbox) = (AgentId::clone(id), self.outbox.clone());
        // Begun now, before the next start can write to the same log.
        let lines = Rc::clone(&self.system).last_output(AgentId::clone(&id), process, LAST_OUTPUT_LINES);
        let read = async move {
            if let Ok(lines) = lines.await
                && !lines.is_empty()
            {
                let _ = outbox.try_send(LoopEvent::LastOutput { id, process, asked, lines });
            }
        };
        self.executor.spawn(read).detach();
    }
}

/// Logs a transition.
fn log_transition(id: &AgentId, transition: &Transition) {
    let Transition { from, to, event, cause, .. } = transition;
    match to {
        State::Failed => tracing::error!(agent_id = %id, ?from, ?to, ?event, cause, "state changed"),
        State::Unhealthy | State::Backoff => tracing::warn!(agent_id = %id, ?from, ?to, ?event, cause, "state changed"),
        State::Stopped | State::Waiting | State::Starting | State::Running | State::Stopping => {
            tracing::info!(agent_id = %id, ?from, ?to, ?event, cause, "state changed");
        }
    }
}
