//! What the parts of the model share: its bounds, its defects, its actions, its invariants and its state.

use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime};

use ops_agent::testing::agent::write_barrier::WriteBarrier;
use statemachine::lifecycle::{self, Machine};
use statemachine::time::Now;

use crate::canon::{Scale, canonical, fingerprint};

/// How often each thing can go wrong in one run, whatever its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// kill -9.
    pub kills: u8,
    /// Writes that fail, with or without the new file in place. Writes that never end need no bound.
    pub failed_writes: u8,
    /// Faults of another part than the disk. Each may clear again.
    pub faults: u8,
    /// How often the status file is lost.
    pub lost_files: u8,
    /// Requests to stop. The second one means: at once.
    pub stops: u8,
}

/// A defect that a test puts into the model to prove that the search finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Defect {
    /// The product as it is.
    #[default]
    None,
    /// The agent publishes a snapshot before it writes it.
    PublishesFirst,
    /// After a write, the agent publishes its current state instead of the written one.
    PublishesCurrentState,
    /// A failed write raises no fault.
    HidesFailedWrites,
    /// The agent waits for a write without a limit.
    NoWriteTimeout,
    /// The incarnation is in the status file only.
    IncarnationOnlyInStatusFile,
}

/// The model.
#[derive(Debug, Default)]
pub struct AgentModel {
    /// What may go wrong, and how often.
    pub bounds: Bounds,
    /// The defect under test.
    pub defect: Defect,
}

/// A rule that holds in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// (e) What is published is on disk, or the fault `status_file` is published with it.
    DurableBeforeVisible,
    /// (e) After the exit the file shows the end, or the fault was published.
    EndIsOnDisk,
    /// (f) Incarnation and sequence never go back.
    NumbersGrow,
    /// Degraded is published exactly while there is a fault.
    FaultsAreReported,
    /// No event comes in a state whose table refuses it.
    NothingIsRefused,
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Action {
    Starts,
    StartsWithoutLockFileUpdate,
    ApiWorks,
    ProbesWork,
    StartFails,
    FaultBegins,
    FaultEnds,
    WriteSucceeds,
    WriteFails,
    WriteFailsWithFileInPlace,
    TimePasses,
    StopIsRequested,
    Drained,
    Killed,
    KilledWithFileInPlace,
    FileIsLost,
}

/// The parts of a published snapshot that the invariants need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) incarnation: u64,
    pub(super) sequence: u64,
    pub(super) state: lifecycle::State,
    /// The fault `status_file` is raised.
    pub(super) disk_fault: bool,
}

impl Snapshot {
    pub(super) const fn number(&self) -> (u64, u64) {
        (self.incarnation, self.sequence)
    }
}

/// Everything there is at one moment.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) now: Duration,
    pub(super) run: Option<Run>,
    /// The status file.
    pub(super) file: Option<Snapshot>,
    /// The incarnation in the lock file.
    pub(super) lock_incarnation: u64,
    /// The newest snapshot that was published without the fault.
    pub(super) newest: Option<Snapshot>,
    /// How often each thing may still go wrong.
    pub(super) left: Bounds,
    pub(super) violated: Option<Invariant>,
}

/// One process of the agent.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) machine: Machine,
    pub(super) barrier: WriteBarrier<Snapshot>,
    pub(super) published: Snapshot,
    /// What is being written.
    pub(super) writing: Option<Snapshot>,
    pub(super) draining: bool,
    pub(super) exit: bool,
    pub(super) stop_requested: Option<Duration>,
    /// How many files could still be lost at its last write.
    pub(super) files_to_lose: u8,
    /// It has published a snapshot.
    pub(super) is_visible: bool,
}

impl Run {
    pub(super) const fn number(&self) -> (u64, u64) {
        (self.machine.incarnation(), self.machine.sequence())
    }
}

impl State {
    pub(super) fn time(&self) -> Now {
        Now { monotonic: self.now, wall: SystemTime::UNIX_EPOCH + self.now }
    }

    /// Records a violation. The first one counts.
    pub(super) fn violate(&mut self, invariant: Invariant) {
        self.violated.get_or_insert(invariant);
    }

    /// The text that two states have in common when they are equal.
    #[must_use]
    pub fn canonical(&self) -> String {
        canonical(self, self.scale())
    }

    /// The longest time that the agent compares with is the start timeout of 3 s.
    fn scale(&self) -> Scale {
        let (incarnation, sequence) = match (&self.run, self.file) {
            (Some(run), _) => run.number(),
            (None, Some(file)) => file.number(),
            (None, None) => (self.lock_incarnation, self.newest.map_or(0, |newest| newest.sequence)),
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
