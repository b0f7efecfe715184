//! One process of the agent: the product's machine and gate, and around them what `agent/driver` does.

use std::time::Duration;

use ops_agent::testing::agent::write_barrier::{Submitted, WriteBarrier, Written};
use statemachine::lifecycle::{Effect, FaultName, Input, Limits, Machine, Part, State as Lifecycle};
use statemachine::time::Now;

use super::{Action, Bounds, Broken, Life, Promise, Shown, State};

/// Shorter than the product's, and such that everything falls due on whole seconds: a refresh begins a twentieth of its
/// interval early, but no more than 250 ms. The patience with the disk is the product's, 1 s.
const LIMITS: Limits =
    Limits { start: Duration::from_secs(3), grace: Duration::from_secs(2), refresh: Duration::from_millis(5250) };

#[derive(Debug, Clone)]
pub(super) struct Run {
    machine: Machine,
    barrier: WriteBarrier<Shown>,
    published: Shown,
    /// What the disk is busy with.
    pub(super) writing: Option<Shown>,
    draining: bool,
    pub(super) exit: bool,
    pub(super) asked_to_stop: Option<Duration>,
    /// How many files could still be lost when it last wrote one.
    pub(super) files_to_lose: u8,
    /// Something was published.
    pub(super) is_seen: bool,
}

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
            asked_to_stop: None,
            files_to_lose,
            is_seen: false,
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
        if self.machine.faults().stands(FaultName::Http) {
            actions.push(Action::FaultEnds);
        } else if left.faults > 0 {
            actions.push(Action::FaultBegins);
        }
        if self.writing.is_some() {
            actions.push(Action::WriteSucceeds);
            if left.failed_writes > 0 {
                actions.extend([Action::WriteFails, Action::WriteFailsWithTheFileInPlace]);
            }
        }
        if self.deadline().is_some() {
            actions.push(Action::TimePasses);
        }
        if left.stops > 0 && state != Lifecycle::Stopped {
            actions.push(Action::StopIsAskedFor);
        }
        if self.draining {
            actions.push(Action::Drained);
        }
        if left.kills > 0 {
            actions.push(Action::Killed);
            if self.writing.is_some() {
                actions.push(Action::KilledWithTheFileInPlace);
            }
        }
    }

    pub(super) fn shown(&self) -> Shown {
        self.published
    }

    pub(super) const fn number(&self) -> (u64, u64) {
        (self.machine.incarnation(), self.machine.sequence())
    }

    /// Whether Degraded is shown exactly while the shown faults are some.
    pub(super) fn is_coherent(&self) -> bool {
        !(self.published.disk_fault && self.published.state == Lifecycle::Running)
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        [self.machine.deadline(), self.barrier.deadline()].into_iter().flatten().min()
    }

    pub(super) fn take(&mut self, life: &Life, world: &mut State, action: Action) {
        let http = FaultName::Http;
        match action {
            Action::ApiWorks => self.input(life, world, Input::PartProved(Part::Api)),
            Action::ProbesWork => self.input(life, world, Input::PartProved(Part::Probes)),
            Action::StartFails => self.input(life, world, Input::StartFailed("the port is taken".to_owned())),
            Action::FaultBegins => {
                world.left.faults -= 1;
                self.input(life, world, Input::FaultRaised(http, "no descriptors".to_owned()));
            }
            Action::FaultEnds => self.input(life, world, Input::FaultCleared(http)),
            Action::WriteSucceeds => self.written(life, world, true, true),
            Action::WriteFails | Action::WriteFailsWithTheFileInPlace => {
                world.left.failed_writes -= 1;
                self.written(life, world, false, action == Action::WriteFailsWithTheFileInPlace);
            }
            Action::TimePasses => self.expire(life, world),
            Action::StopIsAskedFor => {
                world.left.stops -= 1;
                self.asked_to_stop.get_or_insert(world.now);
                self.input(life, world, Input::StopRequested("SIGTERM".to_owned()));
            }
            Action::Drained => {
                self.draining = false;
                self.input(life, world, Input::Drained);
            }
            _ => {}
        }
    }

    fn input(&mut self, life: &Life, world: &mut State, input: Input) {
        match self.machine.handle(world.time(), input) {
            Ok(reaction) => match reaction.effects {
                [Effect::Persist, rest @ ..] if life.broken == Broken::PublishesFirst => {
                    self.perform(world, rest, None);
                    self.persist(world, &[]);
                }
                [Effect::Persist, rest @ ..] => self.persist(world, rest),
                effects => self.perform(world, effects, None),
            },
            Err(_) => world.loses(Promise::NothingIsRefused),
        }
    }

    fn persist(&mut self, world: &State, behind: &[Effect]) {
        match self.barrier.submit(behind) {
            Submitted::Begin => self.begin_write(world.now),
            Submitted::Wait => {}
            Submitted::GoOn(effects) => self.perform(world, &effects, None),
        }
    }

    fn begin_write(&mut self, now: Duration) {
        let snapshot = snapshot(&self.machine);
        self.barrier.begin(now, snapshot);
        self.writing = Some(snapshot);
    }

    fn written(&mut self, life: &Life, world: &mut State, well: bool, in_place: bool) {
        let written = self.writing.take();
        if in_place {
            world.file = written;
            self.files_to_lose = world.left.lost_files;
        }
        let in_state = world.now.saturating_sub(self.machine.since().monotonic);
        match self.barrier.end(well, in_state) {
            None => return,
            Some(Written::Durable { snapshot, effects, clears_fault }) => {
                let shows_the_present = life.broken == Broken::ShowsThePresent;
                self.perform(world, &effects, Some(snapshot).filter(|_| !shows_the_present));
                if clears_fault {
                    self.input(life, world, Input::FaultCleared(FaultName::StatusFile));
                }
            }
            Some(Written::Failed { effects, retry_exit }) => {
                if life.broken != Broken::HidesFailedWrites {
                    self.input(life, world, Input::FaultRaised(FaultName::StatusFile, "no space left".to_owned()));
                }
                if retry_exit {
                    self.barrier.submit(&[Effect::Exit]);
                    self.begin_write(world.now);
                }
                self.perform(world, &effects, None);
            }
        }
        self.prove_status_file(life, world);
        if self.barrier.wants_write() && !self.exit {
            self.begin_write(world.now);
        }
    }

    fn prove_status_file(&mut self, life: &Life, world: &mut State) {
        if !self.machine.has_proved(Part::StatusFile) {
            self.input(life, world, Input::PartProved(Part::StatusFile));
        }
    }

    fn expire(&mut self, life: &Life, world: &mut State) {
        if life.broken != Broken::EndlessPatience && self.barrier.expire(world.now) {
            let detail = "the disk has not answered".to_owned();
            self.input(life, world, Input::FaultRaised(FaultName::StatusFile, detail));
            self.prove_status_file(life, world);
            let effects = self.barrier.take_waiting();
            self.perform(world, &effects, None);
        }
        if self.machine.deadline().is_some_and(|at| at <= world.now) {
            self.input(life, world, Input::TimePassed);
        }
    }

    fn perform(&mut self, world: &State, effects: &[Effect], written: Option<Shown>) {
        for effect in effects {
            match effect {
                Effect::Persist => self.persist(world, &[]),
                Effect::Publish => {
                    self.published = written.unwrap_or_else(|| snapshot(&self.machine));
                    self.is_seen = true;
                }
                Effect::Drain => self.draining = true,
                Effect::Exit => self.exit = true,
                Effect::Announce | Effect::SendHeartbeat | Effect::Reload | Effect::DeclineReload => {}
            }
        }
    }
}

fn snapshot(machine: &Machine) -> Shown {
    Shown {
        incarnation: machine.incarnation(),
        sequence: machine.sequence(),
        state: machine.state(),
        disk_fault: machine.faults().stands(FaultName::StatusFile),
    }
}
