//! How the loop handles each event.

use std::convert::Infallible;
use std::rc::Rc;

use statemachine::supervision::{Exit, Identity, Input, State};

use super::shared_registry::count;
use super::{CLOSING, End, EventLoop, LoopEvent, STOPPING, Stop};
use crate::daemon::effects::{Effects, NotStarted, Notice, Unproved};
use crate::daemon::processes::MainExit;
use crate::daemon::registry::{AgentId, Registry};
use crate::daemon::store::SaveError;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::Clock;
use ops_runtime::program;

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    pub(super) fn handle(&mut self, event: LoopEvent) {
        match event {
            LoopEvent::Decided => {}
            LoopEvent::Found(id, process) => self.found(&id, process),
            LoopEvent::Spawned(id, result) => self.spawned(&id, result),
            LoopEvent::MainExited(id, main, exit) => self.main_exited(&id, main, exit),
            LoopEvent::Emptied(id, main, exit) => self.emptied(&id, main, exit),
            LoopEvent::Unkillable(id, process, left) => {
                tracing::error!(agent_id = %id, left, "SIGKILL does not end these processes");
                self.input(&id, Input::Unkillable { process, left });
            }
            LoopEvent::Released(id, process, released) => {
                tracing::warn!(agent_id = %id, released, "left running, because `stop_scope` is `group`");
                self.change(|registry| registry.set_released(&id, process, released));
            }
            LoopEvent::LogChanged(id, change) => {
                if let Some(change) = change {
                    tracing::warn!(agent_id = %id, "{change}");
                }
                self.shared_registry.change(|registry| registry.set_log_change(&id, change));
            }
            LoopEvent::LastOutput { id, process, asked, lines } => self.last_output(&id, process, asked, lines),
            LoopEvent::Checked { id, process, check, begun, finding } => {
                self.decide(|registry, now| registry.on_check_result(now, &id, process, begun, finding));
                self.check_ended(id, check);
            }
            LoopEvent::Saved(result) => self.saved(result),
            LoopEvent::ReloadRequested(request) => self.reload_requested(request),
            LoopEvent::Reloaded(result) => self.reloaded(result),
            LoopEvent::Fault(name, detail) => self.fault(name, detail),
            LoopEvent::StopRequested(stop, by) => self.stop_requested(stop, &by),
        }
        // Before the next event, so that actions keep the order of their events.
        self.carry_out();
    }

    pub(super) fn decide(
        &self,
        decide: impl FnOnce(&mut Registry, statemachine::time::Now) -> crate::daemon::registry::Decisions,
    ) {
        let Ok(()) = self.shared_registry.decide::<Infallible>(|registry, now| Ok(decide(registry, now)));
    }

    /// Passes an input to the machine of one agent. `false` if the agent no longer exists.
    fn input(&self, id: &AgentId, input: Input) -> bool {
        self.shared_registry.decide(|registry, now| registry.handle(now, id, input)).is_ok()
    }

    /// Searches beside the loop for the processes of which nothing could be told, and shows that meanwhile.
    pub(super) fn search_again(&self, unproved: Vec<Unproved>) {
        let now = self.clock.now();
        for search in unproved {
            let Unproved { id, why, .. } = &search;
            tracing::error!(agent_id = %id, why, "it cannot be told whether its process is alive: trying again each second");
            self.shared_registry.change(|registry| registry.set_unproved(now, id, why));
            let (id, system, outbox) = (AgentId::clone(id), Rc::clone(&self.system), self.outbox.clone());
            let found = async move {
                let process = system.find(search).await;
                let _ = outbox.try_send(LoopEvent::Found(id, process));
            };
            self.executor.spawn(found).detach();
        }
        self.show_unproved();
    }

    fn found(&self, id: &AgentId, process: Option<Identity>) {
        tracing::info!(agent_id = %id, pid = process.map(|process| process.pid), "it is known now whether its process is alive");
        // An agent that was removed meanwhile needs nothing.
        let _ = self.shared_registry.decide(|registry, now| registry.found(now, id, process));
        self.show_unproved();
    }

    /// A fault of the daemon, for as long as there is an agent of which nothing can be told.
    fn show_unproved(&self) {
        let count = |registry: &Registry| registry.iter().filter(|(_, entry)| entry.unproved().is_some()).count();
        let count = self.shared_registry.read(count);
        let text = || {
            let program = program::name();
            format!("it cannot be told whether the processes of {count} agents are alive: see `{program} why`")
        };
        self.fault("processes", (count > 0).then(text));
    }

    /// Changes what is only shown.
    fn change<T>(&mut self, change: impl FnOnce(&mut Registry) -> T) -> T {
        self.saves.change(self.clock.now().monotonic);
        self.shared_registry.change(change)
    }

    /// Keeps the last output, and logs it if the process ended by itself: it often contains the cause.
    fn last_output(&mut self, id: &AgentId, process: Identity, asked: bool, lines: Vec<String>) {
        let output = lines.join("\n");
        let is_latest = self.change(|registry| registry.set_last_output(id, process, lines));
        if is_latest && !asked {
            tracing::warn!(agent_id = %id, pid = process.pid, output, "last output");
        }
    }

    fn spawned(&mut self, id: &AgentId, result: Result<Identity, NotStarted>) {
        self.spawning -= 1;
        let input = match result {
            Ok(process) => {
                tracing::info!(agent_id = %id, pid = process.pid, "process started");
                self.watch(id, process);
                Input::Spawned(process)
            }
            Err(NotStarted { reason, own_fault }) => {
                tracing::error!(agent_id = %id, error = reason, own_fault, "process not started");
                Input::SpawnFailed { reason, own_fault }
            }
        };
        self.input(id, input);
    }

    fn main_exited(&mut self, id: &AgentId, main: Identity, MainExit { exit, left }: MainExit) {
        let present = self.present_state(id, main);
        if let Some(state) = present {
            self.read_last_output(id, main, state == State::Stopping);
        }
        if left == 0 {
            return self.emptied(id, main, exit);
        }
        tracing::info!(agent_id = %id, pid = main.pid, %exit, left, "main process ended; others of its tree are left");
        self.await_end_of_tree(id, main, exit);
        if present.is_some() {
            self.decide(|registry, now| registry.main_gone(now, id, main, exit, left));
        } else {
            // The tree belongs to no agent any more, so nothing else stops it.
            self.kill(id, main);
        }
    }

    fn emptied(&mut self, id: &AgentId, main: Identity, exit: Exit) {
        if self.present_state(id, main).is_some() {
            tracing::info!(agent_id = %id, pid = main.pid, %exit, "process ended");
            self.input(id, Input::Exited(main, exit));
        } else {
            // It belongs to no agent any more, but it has to be reaped.
            self.system.reap(main);
        }
    }

    /// The state of the agent, if this is the main process of its present tree.
    fn present_state(&self, id: &AgentId, main: Identity) -> Option<State> {
        self.shared_registry.read(|registry| {
            let machine = registry.get(id)?.machine();
            (machine.tree() == Some(main)).then(|| machine.state())
        })
    }

    fn saved(&mut self, result: Result<(), SaveError>) {
        self.saves.end(self.clock.now().monotonic, result.is_ok());
        self.shared_registry.count(|counts| match &result {
            Ok(()) => counts.saves += 1,
            Err(_) => counts.failed_saves += 1,
        });
        self.fault(
            "registry",
            result.err().map(|error| format!("the registry cannot be saved: {}", with_causes(&error))),
        );
        self.advance_all();
    }

    /// Raises or clears a fault of the daemon, and logs the change.
    pub(super) fn fault(&self, name: &'static str, detail: Option<String>) {
        match detail {
            Some(detail) if self.shared_registry.fault(name, Some(detail.clone())) => {
                tracing::error!(fault = name, error = detail, "fault raised: the daemon keeps running");
            }
            None if self.shared_registry.fault(name, None) => tracing::info!(fault = name, "fault cleared"),
            Some(_) | None => {}
        }
    }

    /// A second request ends the daemon at once, whatever the first one was.
    fn stop_requested(&mut self, stop: Stop, by: &str) {
        let now = self.clock.now().monotonic;
        let again = self.stop.is_some();
        let stop = if again { Stop::LeaveAgents } else { stop };
        self.stop = Some(stop);
        self.shared_registry.close();
        match stop {
            Stop::LeaveAgents => {
                tracing::info!(by, "the daemon stops and leaves its agents running");
                self.system.notify(Notice::Stopping("agents keep running; the next daemon adopts them"));
                self.saves.change_before(now);
                self.ends_at = Some(now + if again { std::time::Duration::ZERO } else { CLOSING });
            }
            Stop::StopAgents => {
                tracing::info!(by, "the daemon stops all agents, then itself");
                self.system.notify(Notice::Stopping("stopping all agents"));
                self.decide(|registry, now| registry.stop_all(now, by));
                self.ends_at = Some(now + self.shared_registry.read(Registry::longest_stop) + STOPPING);
            }
        }
    }

    /// How the loop ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        let stop = self.stop?;
        let running = |registry: &Registry| -> (Vec<AgentId>, bool) {
            let running = registry.iter().filter(|(_, entry)| entry.machine().tree().is_some());
            let is_being_stopped = registry.iter().any(|(_, entry)| entry.machine().process().is_some());
            (running.map(|(id, _)| AgentId::clone(id)).collect(), is_being_stopped)
        };
        let (mut left_running, is_being_stopped) = self.shared_registry.read(running);
        left_running.sort();
        let settled = self.saves.is_tried() && self.spawning == 0;
        let settled = settled && (stop == Stop::LeaveAgents || !is_being_stopped);
        // What SIGKILL does not end is left running, which was not the order.
        let as_ordered = stop == Stop::LeaveAgents || left_running.is_empty();
        let in_order = settled && as_ordered && self.saves.is_idle();
        let late = self.ends_at.is_some_and(|at| at <= self.clock.now().monotonic);
        (settled || late).then_some(End { left_running, in_order })
    }

    /// Notifies the service manager of the number of agents in each state, if it has changed.
    pub(super) fn notify_service_manager(&mut self) {
        if std::mem::take(&mut self.state_changed) && self.stop.is_none() && !self.reloads.is_in_progress() {
            let counts = self.shared_registry.read(count);
            let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
            let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
            self.system.notify(Notice::Working(&format!("agents: {counts}")));
        }
    }
}
