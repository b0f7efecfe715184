//! One agent × its disk × crashes.
//!
//! | part | here |
//! |---|---|
//! | what the agent decides | the product's `lifecycle::Machine` and `agent::write_barrier::WriteBarrier` |
//! | how the agent performs it | modelled in `run`, after the agent's event loop: effects behind a write wait for it |
//! | disk, faults, signals, kill -9 | modelled: a write may succeed, fail, fail after the new file is in place, or never end |
//!
//! Time goes from deadline to deadline, so all other actions happen before, between and after any two deadlines.
//!
//! Imports go one way: `state`, then `run`, then this file.

mod run;
mod state;

use std::time::Duration;

use statemachine::lifecycle;
use stateright::{Model, Property};

use state::Run;
pub use state::{Action, AgentModel, Bounds, Defect, Invariant, State};

/// From the request to stop to the exit, whatever disk and peers do: the write timeout, the grace period, and the write
/// timeout once more.
const LONGEST_STOP: Duration = Duration::from_secs(1 + 2 + 1);

impl Model for AgentModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: Duration::from_secs(1000),
            run: None,
            file: None,
            lock_incarnation: 0,
            newest: None,
            left: self.bounds,
            violated: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violated.is_some() {
            return;
        }
        if state.left.lost_files > 0 && state.file.is_some() {
            actions.push(Action::FileIsLost);
        }
        match &state.run {
            Some(run) => run.actions(&state.left, actions),
            None => {
                actions.push(Action::Starts);
                if state.left.failed_writes > 0 {
                    actions.push(Action::StartsWithoutLockFileUpdate);
                }
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Starts => state.start(self, true),
            Action::StartsWithoutLockFileUpdate => {
                state.left.failed_writes -= 1;
                state.start(self, false);
            }
            Action::FileIsLost => {
                state.left.lost_files -= 1;
                state.file = None;
            }
            Action::Killed => state.kill(false),
            Action::KilledWithFileInPlace => state.kill(true),
            _ => state.apply(self, action),
        }
        state.check();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn holds(state: &State, invariant: Invariant) -> bool {
            state.violated != Some(invariant)
        }
        vec![
            Property::always("durable before visible", |_, state| holds(state, Invariant::DurableBeforeVisible)),
            Property::always("the end is on disk", |_, state| holds(state, Invariant::EndIsOnDisk)),
            Property::always("numbers never go back", |_, state| holds(state, Invariant::NumbersGrow)),
            Property::always("faults are reported", |_, state| holds(state, Invariant::FaultsAreReported)),
            Property::always("nothing is refused", |_, state| holds(state, Invariant::NothingIsRefused)),
            Property::always("Stopped can be reached", |model: &Self, state: &State| state.stops_in_time(model)),
            Property::sometimes("Running is published", |_, state: &State| state.shows(lifecycle::State::Running)),
            Property::sometimes("Degraded is published", |_, state: &State| state.shows(lifecycle::State::Degraded)),
            Property::sometimes("a snapshot with the fault is ahead of the disk", |_, state: &State| state.is_ahead()),
        ]
    }
}

impl State {
    /// As `status_file::open`: the higher incarnation of status file and lock file, plus one.
    fn start(&mut self, model: &AgentModel, updates_lock_file: bool) {
        let (in_file, sequence) = self.file.map_or((0, 0), |file| file.number());
        let in_lock_file = if model.defect == Defect::IncarnationOnlyInStatusFile { 0 } else { self.lock_incarnation };
        let incarnation = in_file.max(in_lock_file) + 1;
        if updates_lock_file {
            self.lock_incarnation = incarnation;
        }
        // Of an earlier incarnation only the number matters, so its sequence must not make two states different.
        if let Some(newest) = self.newest.as_mut().filter(|newest| newest.incarnation < incarnation) {
            newest.sequence = sequence;
        }
        self.run = Some(Run::new(self.time(), incarnation, sequence, self.left.lost_files));
        self.apply(model, Action::TimePasses);
    }

    /// kill -9. During a write, the new file may be in place or not.
    fn kill(&mut self, in_place: bool) {
        self.left.kills -= 1;
        if let Some(written) = self.run.take().and_then(|run| run.writing).filter(|_| in_place) {
            self.file = Some(written);
        }
    }

    fn apply(&mut self, model: &AgentModel, action: Action) {
        let Some(mut run) = self.run.take() else { return };
        if action == Action::TimePasses {
            self.now = run.deadline().map_or(self.now, |at| at.max(self.now));
        }
        run.apply(model, self, action);
        let exits = run.exit;
        self.run = Some(run);
        self.check();
        if exits {
            let run = self.run.take();
            let is_reported = |run: &Run| {
                let published = run.published;
                published.disk_fault || self.file.is_some_and(|file| file.number() >= published.number())
            };
            if !run.as_ref().is_some_and(is_reported) {
                self.violate(Invariant::EndIsOnDisk);
            }
        }
    }

    /// Checks what other processes can see.
    fn check(&mut self) {
        let Some(run) = self.run.as_ref().filter(|run| run.is_visible) else { return };
        let published = run.published;
        let is_coherent = run.is_coherent();
        let on_disk = self.file.is_some_and(|file| published.number() <= file.number());
        let may_be_lost = self.left.lost_files < run.files_to_lose;
        if !on_disk && !published.disk_fault && !may_be_lost {
            self.violate(Invariant::DurableBeforeVisible);
        }
        if !is_coherent {
            self.violate(Invariant::FaultsAreReported);
        }
        if !published.disk_fault {
            if self.newest.is_some_and(|newest| published.number() < newest.number()) {
                self.violate(Invariant::NumbersGrow);
            }
            self.newest = Some(published);
        }
    }

    /// From here, a request to stop leads to the exit in time, even if the disk and all peers hang.
    fn stops_in_time(&self, model: &AgentModel) -> bool {
        let mut state = self.clone();
        if state.run.is_none() || state.violated.is_some() {
            return true;
        }
        let requested = state.run.as_ref().and_then(|run| run.stop_requested);
        state.left.stops = state.left.stops.max(1);
        if requested.is_none() {
            state.apply(model, Action::StopIsRequested);
        }
        let by = requested.unwrap_or(self.now) + LONGEST_STOP;
        // More steps than there can be deadlines in so short a time.
        for _ in 0..32 {
            state.apply(model, Action::TimePasses);
        }
        state.run.is_none() && state.now <= by
    }

    fn shows(&self, state: lifecycle::State) -> bool {
        self.run.as_ref().is_some_and(|run| run.published.state == state)
    }

    fn is_ahead(&self) -> bool {
        let ahead = |run: &Run| self.file.is_none_or(|file| file.number() < run.published.number());
        self.run.as_ref().is_some_and(|run| ahead(run) && run.published.disk_fault)
    }
}
