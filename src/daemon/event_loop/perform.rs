//! How the driver carries out effects: each agent's in order, the slow ones beside the loop.

use std::rc::Rc;

use futures_lite::FutureExt as _;
use statemachine::supervision::{Effect, Exit, Identity, State, Transition};

use super::saves::Ticket;
use super::{EventLoop, LoopEvent};
use crate::daemon::checks::{CHECK_TIMEOUT, ScheduledCheck};
use crate::daemon::effects::Effects;
use crate::daemon::registry::{AgentAction, AgentId, Decisions};
use ops_runtime::clock::Clock;

/// How many lines of an agent's output explain why it was given up.
const LAST_OUTPUT_LINES: usize = 10;

/// Something that is to be done for one agent, in its turn.
#[derive(Debug)]
pub(super) enum PendingAction {
    /// Wait until the registry is saved.
    Saved(Ticket),
    /// Carry out one effect, on that process if there is one.
    Do(Effect, Option<Identity>),
    /// Wait until what an earlier process left behind is gone.
    Swept,
}

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    /// Carries out everything that was decided.
    pub(super) fn carry_out(&mut self) {
        while let Some(Decisions { actions, due, hold, refused }) = self.shared_registry.decided() {
            if let Some(hold) = hold {
                tracing::warn!(reason = %hold.doubt, "restarts are held for one interval, to look again");
            }
            for (id, refused) in refused {
                tracing::warn!(agent_id = %id, event = ?refused.event, state = ?refused.state, "event refused");
            }
            for act in actions {
                self.enqueue(act);
            }
            for (id, process) in due {
                self.look(&id, process);
            }
        }
        if self.saves.begin(self.clock.now().monotonic) {
            self.save();
        }
    }

    fn enqueue(&mut self, act: AgentAction) {
        let AgentAction { id, process, effects, transition } = act;
        if let Some(transition) = transition {
            self.moved = true;
            tell(&id, &transition);
            if transition.to == State::Failed {
                self.log_last_output(&id);
            }
        }
        let now = self.clock.now().monotonic;
        let steps = effects.iter().enumerate().filter_map(|(place, effect)| match effect {
            Effect::Record if place + 1 == effects.len() => {
                self.saves.change(now);
                None
            }
            Effect::Record => Some(PendingAction::Saved(self.saves.change_before(now))),
            Effect::Spawn | Effect::Adopt | Effect::SignalGroup(_) | Effect::SweepGroup => {
                Some(PendingAction::Do(*effect, process))
            }
        });
        let steps: Vec<PendingAction> = steps.collect();
        self.steps.entry(AgentId::clone(&id)).or_default().extend(steps);
        self.advance(&id);
    }

    /// Does what is next for an agent, as far as the disk lets it.
    pub(super) fn advance(&mut self, id: &AgentId) {
        while let Some(steps) = self.steps.get_mut(id) {
            match steps.front() {
                Some(PendingAction::Saved(ticket)) if !self.saves.lets_through(*ticket) => return,
                Some(PendingAction::Swept) => return,
                Some(_) => {}
                None => {
                    self.steps.remove(id);
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
            (Effect::SignalGroup(signal), Some(process)) => {
                tracing::info!(agent_id = %id, pid = process.pid, ?signal, "process group told to end");
                self.system.signal(process, signal);
            }
            (Effect::SweepGroup, Some(process)) => {
                self.steps.entry(AgentId::clone(id)).or_default().push_front(PendingAction::Swept);
                self.sweep(process, Some(AgentId::clone(id)));
            }
            (Effect::Adopt | Effect::SignalGroup(_) | Effect::SweepGroup, None) | (Effect::Record, _) => {}
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

    /// Reports the end of a process.
    pub(super) fn watch(&self, id: &AgentId, process: Identity) {
        let (id, system, outbox) = (AgentId::clone(id), Rc::clone(&self.system), self.outbox.clone());
        let watch = async move {
            let exit: Exit = system.ended(process).await;
            let _ = outbox.try_send(LoopEvent::Exited(id, process, exit));
        };
        self.executor.spawn(watch).detach();
    }

    /// Sweeps up after a process that has ended, and reports to its agent if that waits for it.
    pub(super) fn sweep(&self, process: Identity, waiting: Option<AgentId>) {
        let (system, outbox) = (Rc::clone(&self.system), self.outbox.clone());
        let sweep = async move {
            system.sweep(process).await;
            if let Some(id) = waiting {
                let _ = outbox.try_send(LoopEvent::Swept(id));
            }
        };
        self.executor.spawn(sweep).detach();
    }

    /// Begins every check that an agent's configuration asks for. One that still runs is not begun again.
    fn look(&mut self, id: &AgentId, process: Identity) {
        let checks = self
            .shared_registry
            .read(|registry| registry.get(id).map(|entry| ScheduledCheck::wanted(entry.limits()).collect::<Vec<_>>()));
        for check in checks.into_iter().flatten() {
            if self.looking.insert((AgentId::clone(id), check)) {
                self.executor.spawn(self.one_look(AgentId::clone(id), process, check)).detach();
            }
        }
    }

    /// One check, within [`CHECK_TIMEOUT`] whatever the agent or the disk does.
    fn one_look(&self, id: AgentId, process: Identity, check: ScheduledCheck) -> impl Future<Output = ()> + use<C, W> {
        let (clock, system, outbox) = (self.clock.clone(), Rc::clone(&self.system), self.outbox.clone());
        let permits = Rc::clone(&self.permits);
        async move {
            let _permit = permits.acquire().await;
            let begun = clock.now().monotonic;
            let expiry = async {
                clock.sleep_until(begun + CHECK_TIMEOUT).await;
                check.timed_out()
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

    /// Why an agent was given up is mostly in the last lines that it wrote.
    fn log_last_output(&self, id: &AgentId) {
        let (id, system) = (AgentId::clone(id), Rc::clone(&self.system));
        let read = async move {
            if let Ok(lines) = system.last_output(AgentId::clone(&id), LAST_OUTPUT_LINES).await
                && !lines.is_empty()
            {
                tracing::error!(agent_id = %id, output = lines.join("\n"), "last output");
            }
        };
        self.executor.spawn(read).detach();
    }
}

/// Logs a move.
fn tell(id: &AgentId, transition: &Transition) {
    let Transition { from, to, event, cause, .. } = transition;
    match to {
        State::Failed => tracing::error!(agent_id = %id, ?from, ?to, ?event, cause, "state changed"),
        State::Unhealthy | State::Backoff => tracing::warn!(agent_id = %id, ?from, ?to, ?event, cause, "state changed"),
        State::Stopped | State::Starting | State::Running | State::Stopping => {
            tracing::info!(agent_id = %id, ?from, ?to, ?event, cause, "state changed");
        }
    }
}
