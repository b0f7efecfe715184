//! One process of the agent: the product's machine and write barrier, and a model of the event loop around them.

use std::time::Duration;

use ops_agent::testing::agent::write_barrier::{Submitted, WriteBarrier, Written};
use statemachine::lifecycle::{Effect, FaultName, Input, Limits, Machine, Part, State as Lifecycle};
use statemachine::time::Now;

use super::state::{Action, AgentModel, Bounds, Defect, Invariant, Run, Snapshot, State};

/// Shorter than the product's, so that every deadline is on a whole second: a refresh begins a twentieth of its interval
/// early, at most 250 ms. The write timeout is the product's, 1 s.
const LIMITS: Limits =
    Limits { start: Duration::from_secs(3), grace: Duration::from_secs(2), refresh: Duration::from_millis(5250) };

impl Run {
    pub(super) fn new(now: Now, incarnation: u64, sequence: u64, files_to_lose: u8) -> Self {
        let machine = Machine::new(now, incarnation, sequence, LIMITS);
        Self {
            published: snapshot(&machine),
            machine,
            barrier: WriteBarrier::default(),
            writing: None,
            draining: false,
            exit: false,
            stop_requested: None,
            files_to_lose,
            is_visible: false,
        }
    }

    pub(super) fn actions(&self, left: &Bounds, actions: &mut Vec<Action>) {
        let state = self.machine.state();
        if state == Lifecycle::Starting {
            let parts = [(Part::Api, Action::ApiWorks), (Part::Probes, Action::ProbesWork)];
            actions
                .extend(parts.into_iter().filter(|(part, _)| !self.machine.has_proved(*part)).map(|(_, works)| works));
            actions.push(Action::StartFails);
        }
        if self.machine.faults().contains(FaultName::Http) {
            actions.push(Action::FaultEnds);
        } else if left.faults > 0 {
            actions.push(Action::FaultBegins);
        }
        if self.writing.is_some() {
            actions.push(Action::WriteSucceeds);
            if left.failed_writes > 0 {
                actions.extend([Action::WriteFails, Action::WriteFailsWithFileInPlace]);
            }
        }
        if self.deadline().is_some() {
            actions.push(Action::TimePasses);
        }
        if left.stops > 0 && state != Lifecycle::Stopped {
            actions.push(Action::StopIsRequested);
        }
        if self.draining {
            actions.push(Action::Drained);
        }
        if left.kills > 0 {
            actions.push(Action::Killed);
            if self.writing.is_some() {
                actions.push(Action::KilledWithFileInPlace);
            }
        }
    }

    /// Running is never published together with the fault `status_file`.
    pub(super) fn is_coherent(&self) -> bool {
        !(self.published.disk_fault && self.published.state == Lifecycle::Running)
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        [self.machine.deadline(), self.barrier.deadline()].into_iter().flatten().min()
    }

    pub(super) fn apply(&mut self, model: &AgentModel, state: &mut State, action: Action) {
        let http = FaultName::Http;
        match action {
            Action::ApiWorks => self.input(model, state, Input::PartProved(Part::Api)),
            Action::ProbesWork => self.input(model, state, Input::PartProved(Part::Probes)),
            Action::StartFails => self.input(model, state, Input::StartFailed("the port is taken".to_owned())),
            Action::FaultBegins => {
                state.left.faults -= 1;
                self.input(model, state, Input::FaultRaised(http, "no descriptors".to_owned()));
            }
            Action::FaultEnds => self.input(model, state, Input::FaultCleared(http)),
            Action::WriteSucceeds => self.written(model, state, true, true),
            Action::WriteFails | Action::WriteFailsWithFileInPlace => {
                state.left.failed_writes -= 1;
                self.written(model, state, false, action == Action::WriteFailsWithFileInPlace);
            }
            Action::TimePasses => self.expire(model, state),
            Action::StopIsRequested => {
                state.left.stops -= 1;
                self.stop_requested.get_or_insert(state.now);
                self.input(model, state, Input::StopRequested("SIGTERM".to_owned()));
            }
            Action::Drained => {
                self.draining = false;
                self.input(model, state, Input::Drained);
            }
            _ => {}
        }
    }

    fn input(&mut self, model: &AgentModel, state: &mut State, input: Input) {
        match self.machine.handle(state.time(), input) {
            Ok(reaction) => match reaction.effects {
                [Effect::Persist, rest @ ..] if model.defect == Defect::PublishesFirst => {
                    self.perform(state, rest, None);
                    self.persist(state, &[]);
                }
                [Effect::Persist, rest @ ..] => self.persist(state, rest),
                effects => self.perform(state, effects, None),
            },
            Err(_) => state.violate(Invariant::NothingIsRefused),
        }
    }

    fn persist(&mut self, state: &State, effects: &[Effect]) {
        match self.barrier.submit(effects) {
            Submitted::Begin => self.begin_write(state.now),
            Submitted::Wait => {}
            Submitted::GoOn(effects) => self.perform(state, &effects, None),
        }
    }

    fn begin_write(&mut self, now: Duration) {
        let snapshot = snapshot(&self.machine);
        self.barrier.begin(now, snapshot);
        self.writing = Some(snapshot);
    }

    fn written(&mut self, model: &AgentModel, state: &mut State, succeeded: bool, in_place: bool) {
        let written = self.writing.take();
        if in_place {
            state.file = written;
            self.files_to_lose = state.left.lost_files;
        }
        let in_state = state.now.saturating_sub(self.machine.since().monotonic);
        match self.barrier.end(succeeded, in_state) {
            None => return,
            Some(Written::Durable { snapshot, effects, clears_fault }) => {
                let publishes_current_state = model.defect == Defect::PublishesCurrentState;
                self.perform(state, &effects, Some(snapshot).filter(|_| !publishes_current_state));
                if clears_fault {
                    self.input(model, state, Input::FaultCleared(FaultName::StatusFile));
                }
            }
            Some(Written::Failed { effects, retry_exit }) => {
                if model.defect != Defect::HidesFailedWrites {
                    self.input(model, state, Input::FaultRaised(FaultName::StatusFile, "no space left".to_owned()));
                }
                if retry_exit {
                    self.barrier.submit(&[Effect::Exit]);
                    self.begin_write(state.now);
                }
                self.perform(state, &effects, None);
            }
        }
        self.prove_status_file(model, state);
        if self.barrier.wants_write() && !self.exit {
            self.begin_write(state.now);
        }
    }

    fn prove_status_file(&mut self, model: &AgentModel, state: &mut State) {
        if !self.machine.has_proved(Part::StatusFile) {
            self.input(model, state, Input::PartProved(Part::StatusFile));
        }
    }

    fn expire(&mut self, model: &AgentModel, state: &mut State) {
        if model.defect != Defect::NoWriteTimeout && self.barrier.expire(state.now) {
            let detail = "the write has not ended within 1 s".to_owned();
            self.input(model, state, Input::FaultRaised(FaultName::StatusFile, detail));
            self.prove_status_file(model, state);
            let effects = self.barrier.take_waiting();
            self.perform(state, &effects, None);
        }
        if self.machine.deadline().is_some_and(|at| at <= state.now) {
            self.input(model, state, Input::TimePassed);
        }
    }

    fn perform(&mut self, state: &State, effects: &[Effect], written: Option<Snapshot>) {
        for effect in effects {
            match effect {
                Effect::Persist => self.persist(state, &[]),
                Effect::Publish => {
                    self.published = written.unwrap_or_else(|| snapshot(&self.machine));
                    self.is_visible = true;
                }
                Effect::Drain => self.draining = true,
                Effect::Exit => self.exit = true,
                Effect::Announce | Effect::SendHeartbeat | Effect::Reload | Effect::DeclineReload => {}
            }
        }
    }
}

fn snapshot(machine: &Machine) -> Snapshot {
    Snapshot {
        incarnation: machine.incarnation(),
        sequence: machine.sequence(),
        state: machine.state(),
        disk_fault: machine.faults().contains(FaultName::StatusFile),
    }
}
