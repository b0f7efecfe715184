//! How the driver carries out effects: each agent's in order, the slow ones beside the loop.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use statemachine::supervision::{Effect, Exit, Identity, State, Transition};

use super::saves::Ticket;
use super::{Driver, Report};
use crate::daemon::registry::{Act, AgentId, CHECK_TIMEOUT, Finding, Outcome};
use crate::daemon::verdict::{Check, CheckLimits, Probe, StatusLook};
use crate::daemon::world::World;
use ops_runtime::clock::Clock;

/// How many lines of an agent's output explain why it was given up.
const LAST_WORDS: usize = 10;

/// Something that is to be done for one agent, in its turn.
#[derive(Debug)]
pub(super) enum Step {
    /// Wait until the registry is saved.
    Saved(Ticket),
    /// Carry out one effect, on that process if there is one.
    Do(Effect, Option<Identity>),
    /// Wait until what an earlier process left behind is gone.
    Swept,
}

impl<C: Clock + Clone + 'static, W: World> Driver<C, W> {
    /// Carries out everything that was decided.
    pub(super) fn carry_out(&mut self) {
        while let Some(Outcome { acts, due, hold, refused }) = self.office.decided() {
            if let Some(hold) = hold {
                tracing::warn!(reason = %hold.doubt, "restarts are held for one interval, to look again");
            }
            for (id, refused) in refused {
                tracing::warn!(agent = %id, event = ?refused.event, state = ?refused.state, "event refused");
            }
            for act in acts {
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

    fn enqueue(&mut self, act: Act) {
        let Act { id, process, effects, transition } = act;
        if let Some(transition) = transition {
            self.moved = true;
            tell(&id, &transition);
            if transition.to == State::Failed {
                self.tell_last_words(&id);
            }
        }
        let now = self.clock.now().monotonic;
        let steps = effects.iter().enumerate().filter_map(|(place, effect)| match effect {
            Effect::Record if place + 1 == effects.len() => {
                self.saves.change(now);
                None
            }
            Effect::Record => Some(Step::Saved(self.saves.change_before(now))),
            Effect::Spawn | Effect::Adopt | Effect::SignalGroup(_) | Effect::SweepGroup => {
                Some(Step::Do(*effect, process))
            }
        });
        let steps: Vec<Step> = steps.collect();
        self.steps.entry(AgentId::clone(&id)).or_default().extend(steps);
        self.advance(&id);
    }

    /// Does what is next for an agent, as far as the disk lets it.
    pub(super) fn advance(&mut self, id: &AgentId) {
        while let Some(steps) = self.steps.get_mut(id) {
            match steps.front() {
                Some(Step::Saved(ticket)) if !self.saves.lets_through(*ticket) => return,
                Some(Step::Swept) => return,
                Some(_) => {}
                None => {
                    self.steps.remove(id);
                    return;
                }
            }
            if let Some(Step::Do(effect, process)) = steps.pop_front() {
                self.perform(id, effect, process);
            }
        }
    }

    fn perform(&mut self, id: &AgentId, effect: Effect, process: Option<Identity>) {
        match (effect, process) {
            (Effect::Spawn, _) => self.spawn(id),
            (Effect::Adopt, Some(process)) => {
                tracing::info!(agent = %id, pid = process.pid, "process adopted");
                self.watch(id, process);
            }
            (Effect::SignalGroup(signal), Some(process)) => {
                tracing::info!(agent = %id, pid = process.pid, ?signal, "process group told to end");
                self.world.signal(process, signal);
            }
            (Effect::SweepGroup, Some(process)) => {
                self.steps.entry(AgentId::clone(id)).or_default().push_front(Step::Swept);
                self.sweep(process, Some(AgentId::clone(id)));
            }
            (Effect::Adopt | Effect::SignalGroup(_) | Effect::SweepGroup, None) | (Effect::Record, _) => {}
        }
    }

    fn spawn(&mut self, id: &AgentId) {
        self.spawning += 1;
        let (id, world, outbox) = (AgentId::clone(id), Rc::clone(&self.world), self.outbox.clone());
        let start = async move {
            let result = world.spawn(AgentId::clone(&id)).await;
            let _ = outbox.try_send(Report::Spawned(id, result));
        };
        self.executor.spawn(start).detach();
    }

    /// Reports the end of a process.
    pub(super) fn watch(&self, id: &AgentId, process: Identity) {
        let (id, world, outbox) = (AgentId::clone(id), Rc::clone(&self.world), self.outbox.clone());
        let watch = async move {
            let exit: Exit = world.ended(process).await;
            let _ = outbox.try_send(Report::Exited(id, process, exit));
        };
        self.executor.spawn(watch).detach();
    }

    /// Sweeps up after a process that has ended, and reports to its agent if that waits for it.
    pub(super) fn sweep(&self, process: Identity, waiting: Option<AgentId>) {
        let (world, outbox) = (Rc::clone(&self.world), self.outbox.clone());
        let sweep = async move {
            world.sweep(process).await;
            if let Some(id) = waiting {
                let _ = outbox.try_send(Report::Swept(id));
            }
        };
        self.executor.spawn(sweep).detach();
    }

    /// Begins every check that an agent's configuration asks for. One that still runs is not begun again.
    fn look(&mut self, id: &AgentId, process: Identity) {
        let checks = self.office.read(|registry| registry.get(id).map(|entry| checks(entry.limits())));
        for check in checks.into_iter().flatten() {
            if self.looking.insert((AgentId::clone(id), check)) {
                self.executor.spawn(self.one_look(AgentId::clone(id), process, check)).detach();
            }
        }
    }

    /// One check, within [`CHECK_TIMEOUT`] whatever the agent or the disk does.
    fn one_look(&self, id: AgentId, process: Identity, check: Check) -> impl Future<Output = ()> + use<C, W> {
        let (clock, world, outbox) = (self.clock.clone(), Rc::clone(&self.world), self.outbox.clone());
        let permits = Rc::clone(&self.permits);
        async move {
            let _permit = permits.acquire().await;
            let begun = clock.now().monotonic;
            let expiry = async {
                clock.sleep_until(begun + CHECK_TIMEOUT).await;
                expired(check)
            };
            let finding = world.check(AgentId::clone(&id), process, check).or(expiry).await;
            let _ = outbox.try_send(Report::Checked { id, process, check, begun, finding });
        }
    }

    fn save(&self) {
        let saved = self.office.read(|registry| registry.save(self.boot));
        let (world, outbox) = (Rc::clone(&self.world), self.outbox.clone());
        let save = async move {
            let result = world.save(saved).await;
            let _ = outbox.try_send(Report::Saved(result));
        };
        self.executor.spawn(save).detach();
    }

    /// Why an agent was given up is mostly in the last lines that it wrote.
    fn tell_last_words(&self, id: &AgentId) {
        let (id, world) = (AgentId::clone(id), Rc::clone(&self.world));
        let read = async move {
            if let Ok(lines) = world.logs(AgentId::clone(&id), LAST_WORDS).await
                && !lines.is_empty()
            {
                tracing::error!(agent = %id, output = lines.join("\n"), "its last words");
            }
        };
        self.executor.spawn(read).detach();
    }
}

/// Logs a move.
fn tell(id: &AgentId, transition: &Transition) {
    let Transition { from, to, event, cause, .. } = transition;
    match to {
        State::Failed => tracing::error!(agent = %id, ?from, ?to, ?event, cause, "state changed"),
        State::Unhealthy | State::Backoff => tracing::warn!(agent = %id, ?from, ?to, ?event, cause, "state changed"),
        State::Stopped | State::Starting | State::Running | State::Stopping => {
            tracing::info!(agent = %id, ?from, ?to, ?event, cause, "state changed");
        }
    }
}

/// What a driver has to look at. Process and heartbeats come by themselves.
fn checks(limits: &CheckLimits) -> Vec<Check> {
    let CheckLimits { http, state_max_age, cpu_percent, memory_bytes, .. } = limits;
    let wanted = [
        (Check::Http, *http),
        (Check::StatusFile, state_max_age.is_some()),
        (Check::Resources, cpu_percent.is_some() || memory_bytes.is_some()),
    ];
    wanted.into_iter().filter_map(|(check, wanted)| wanted.then_some(check)).collect()
}

/// What a check has shown that did not end in time. Only of HTTP is that the agent's fault: files are the host's.
fn expired(check: Check) -> Finding {
    let blind = |what: &str| format!("{what} has not answered within {} s", Duration::as_secs(&CHECK_TIMEOUT));
    match check {
        Check::StatusFile => Finding::StatusFile(StatusLook::NotRead(blind("the disk"))),
        Check::Resources => Finding::Resources(Err(blind("/proc"))),
        Check::Http | Check::Process | Check::Heartbeat => {
            Finding::Http(Probe::Failed(format!("does not answer within {} s", CHECK_TIMEOUT.as_secs())))
        }
    }
}
