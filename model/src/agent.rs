//! One agent × its disk × crashes.
//!
//! | part | what it is here |
//! |---|---|
//! | what the agent decides | the product's `lifecycle::Machine` and `agent::write_barrier::WriteBarrier` |
//! | how it carries that out | modelled, in `Run`, after `agent/driver`: what stands behind a write waits for it |
//! | disk, faults, signals, kill -9 | modelled: a write may succeed, fail, fail after the new file is in place, or never end |
//!
//! Time goes from deadline to deadline, so everything else happens before, between and after any two of them.

mod run;

use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime};

use statemachine::lifecycle;
use statemachine::time::Now;
use stateright::{Model, Property};

use crate::canon::{Scale, canonical, fingerprint};
use run::Run;

/// From the request to stop to the end, whatever disk and peers do: the patience with the disk, the grace, and the patience
/// with the disk once more.
const LONGEST_STOP: Duration = Duration::from_secs(1 + 2 + 1);

/// How often what can go wrong does so, in one run of any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// kill -9.
    pub kills: u8,
    /// Writes that fail, with or without the new file in its place. Those that never end need no bound.
    pub failed_writes: u8,
    /// Faults of another part than the disk, each with its exit.
    pub faults: u8,
    /// How often the status file is lost.
    pub lost_files: u8,
    /// Requests to stop. The second means: now.
    pub stops: u8,
}

/// What is broken on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broken {
    /// Nothing: the product.
    #[default]
    Nothing,
    /// Published before it is written.
    PublishesFirst,
    /// After a write, what has become true meanwhile is published instead of what was written.
    ShowsThePresent,
    /// A write that fails is no fault.
    HidesFailedWrites,
    /// The disk is waited for as long as it takes.
    EndlessPatience,
    /// The incarnation is kept in the status file only.
    OneIncarnationFile,
}

/// The model.
#[derive(Debug, Default)]
pub struct Life {
    /// What may go wrong, and how often.
    pub bounds: Bounds,
    /// What is broken on purpose.
    pub broken: Broken,
}

/// What of a snapshot counts here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    incarnation: u64,
    sequence: u64,
    state: lifecycle::State,
    /// The fault `status_file` stands.
    disk_fault: bool,
}

impl Shown {
    const fn number(&self) -> (u64, u64) {
        (self.incarnation, self.sequence)
    }
}

/// All there is at one moment.
#[derive(Debug, Clone)]
pub struct State {
    now: Duration,
    run: Option<Run>,
    /// The status file.
    file: Option<Shown>,
    /// The incarnation in the lock file.
    noted: u64,
    /// The newest that was ever shown without the fault.
    newest: Option<Shown>,
    left: Bounds,
    lost: Option<Promise>,
}

/// A promise that was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// (e) What is published is on disk, or the fault `status_file` is published with it.
    DurableBeforeVisible,
    /// (e) Asked to stop, it is Stopped in time, in any state and with any disk.
    StopsInTime,
    /// (e) Once it has ended, the file says so, or the fault was published.
    EndIsOnDisk,
    /// (f) Incarnation and sequence never go back.
    NumbersGrow,
    /// Degraded is published exactly while a fault stands.
    FaultsAreTold,
    /// No event comes where the table says that it cannot.
    NothingIsRefused,
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is told by its name")]
pub enum Action {
    Starts,
    StartsWithoutNotingIt,
    ApiWorks,
    ProbesWork,
    StartFails,
    FaultBegins,
    FaultEnds,
    WriteSucceeds,
    WriteFails,
    WriteFailsWithTheFileInPlace,
    TimePasses,
    StopIsAskedFor,
    Drained,
    Killed,
    KilledWithTheFileInPlace,
    FileIsLost,
}

impl Model for Life {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: Duration::from_secs(1000),
            run: None,
            file: None,
            noted: 0,
            newest: None,
            left: self.bounds,
            lost: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.lost.is_some() {
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
                    actions.push(Action::StartsWithoutNotingIt);
                }
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Starts => state.start(self, true),
            Action::StartsWithoutNotingIt => {
                state.left.failed_writes -= 1;
                state.start(self, false);
            }
            Action::FileIsLost => {
                state.left.lost_files -= 1;
                state.file = None;
            }
            Action::Killed => state.kill(false),
            Action::KilledWithTheFileInPlace => state.kill(true),
            _ => state.happens(self, action),
        }
        state.look();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn kept(state: &State, promise: Promise) -> bool {
            state.lost != Some(promise)
        }
        vec![
            Property::always("durable before visible", |_, state| kept(state, Promise::DurableBeforeVisible)),
            Property::always("the end is on disk", |_, state| kept(state, Promise::EndIsOnDisk)),
            Property::always("numbers never go back", |_, state| kept(state, Promise::NumbersGrow)),
            Property::always("faults are told", |_, state| kept(state, Promise::FaultsAreTold)),
            Property::always("nothing impossible happens", |_, state| kept(state, Promise::NothingIsRefused)),
            Property::always("Stopped is in reach", |life: &Self, state: &State| state.stops_in_time(life)),
            Property::sometimes("it runs", |_, state: &State| state.shows(lifecycle::State::Running)),
            Property::sometimes("it degrades", |_, state: &State| state.shows(lifecycle::State::Degraded)),
            Property::sometimes("it shows more than the disk has, and the fault", |_, state: &State| state.is_ahead()),
        ]
    }
}

impl State {
    fn time(&self) -> Now {
        Now { monotonic: self.now, wall: SystemTime::UNIX_EPOCH + self.now }
    }

    /// As `status_file::open`: what the last run left, in both places, and one more.
    fn start(&mut self, life: &Life, is_noted: bool) {
        let (in_file, sequence) = self.file.map_or((0, 0), |file| file.number());
        let noted = if life.broken == Broken::OneIncarnationFile { 0 } else { self.noted };
        let incarnation = in_file.max(noted) + 1;
        if is_noted {
            self.noted = incarnation;
        }
        // Of an earlier incarnation it counts only that it is one.
        if let Some(newest) = self.newest.as_mut().filter(|newest| newest.incarnation < incarnation) {
            newest.sequence = sequence;
        }
        self.run = Some(Run::new(self.time(), incarnation, sequence, self.left.lost_files));
        self.happens(life, Action::TimePasses);
    }

    /// kill -9. Of a write that is under way, nobody knows whether the new file got into its place.
    fn kill(&mut self, in_place: bool) {
        self.left.kills -= 1;
        if let Some(written) = self.run.take().and_then(|run| run.writing).filter(|_| in_place) {
            self.file = Some(written);
        }
    }

    fn happens(&mut self, life: &Life, action: Action) {
        let Some(mut run) = self.run.take() else { return };
        if action == Action::TimePasses {
            self.now = run.deadline().map_or(self.now, |at| at.max(self.now));
        }
        run.take(life, self, action);
        let ended = run.exit;
        self.run = Some(run);
        self.look();
        if ended {
            let run = self.run.take();
            let told = |run: &Run| {
                run.shown().disk_fault || self.file.is_some_and(|file| file.number() >= run.shown().number())
            };
            if !run.as_ref().is_some_and(told) {
                self.loses(Promise::EndIsOnDisk);
            }
        }
    }

    /// Looks at what everybody can see.
    fn look(&mut self) {
        let Some(run) = &self.run else { return };
        let shown = run.shown();
        let is_coherent = run.is_coherent();
        if !run.is_seen {
            return;
        }
        let on_disk = self.file.is_some_and(|file| shown.number() <= file.number());
        let may_be_lost = self.left.lost_files < run.files_to_lose;
        if !on_disk && !shown.disk_fault && !may_be_lost {
            self.loses(Promise::DurableBeforeVisible);
        }
        if !is_coherent {
            self.loses(Promise::FaultsAreTold);
        }
        if !shown.disk_fault {
            if self.newest.is_some_and(|newest| shown.number() < newest.number()) {
                self.loses(Promise::NumbersGrow);
            }
            self.newest = Some(shown);
        }
    }

    /// From here, a request to stop leads to the end in time although the disk and all peers hang.
    fn stops_in_time(&self, life: &Life) -> bool {
        let mut state = self.clone();
        if state.run.is_none() || state.lost.is_some() {
            return true;
        }
        let asked = state.run.as_ref().and_then(|run| run.asked_to_stop);
        state.left.stops = state.left.stops.max(1);
        if asked.is_none() {
            state.happens(life, Action::StopIsAskedFor);
        }
        let by = asked.unwrap_or(self.now) + LONGEST_STOP;
        // Far more steps than there are deadlines in so short a time.
        for _ in 0..32 {
            state.happens(life, Action::TimePasses);
        }
        state.run.is_none() && state.now <= by
    }

    fn shows(&self, state: lifecycle::State) -> bool {
        self.run.as_ref().is_some_and(|run| run.shown().state == state)
    }

    fn is_ahead(&self) -> bool {
        let ahead = |run: &Run| self.file.is_none_or(|file| file.number() < run.shown().number());
        self.run.as_ref().is_some_and(|run| ahead(run) && run.shown().disk_fault)
    }

    fn loses(&mut self, promise: Promise) {
        self.lost.get_or_insert(promise);
    }

    /// The text that two states have in common when they are the same.
    #[must_use]
    pub fn canonical(&self) -> String {
        canonical(self, self.scale())
    }

    /// The longest that is waited for in the past is the start's 3 s.
    fn scale(&self) -> Scale {
        let (incarnation, sequence) = match (&self.run, self.file) {
            (Some(run), _) => run.number(),
            (None, Some(file)) => file.number(),
            (None, None) => (self.noted, self.newest.map_or(0, |newest| newest.sequence)),
        };
        Scale { now: self.now, horizon: Duration::from_secs(3), incarnation, sequence }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        fingerprint(self, self.scale()).hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}
