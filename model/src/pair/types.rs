//! What the parts of the model share: its bounds, its defects, its actions, and its invariants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The interval of heartbeats and of checks.
pub const TICK: Duration = Duration::from_secs(30);

/// How often each thing can go wrong in one run, whatever its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// kill -9 of an agent, and exits of its own.
    pub crashes: u8,
    /// SIGSTOP of an agent.
    pub hangs: u8,
    /// Processes that an agent starts. Each outlives the agent's main process.
    pub helpers: u8,
    /// Copies of the agent that an operator starts by hand.
    pub stray_copies: u8,
    /// Starts of other programs. Each gets the lowest free pid, which may have been an agent's.
    pub other_programs: u8,
    /// Heartbeats with the agent's pid and an earlier incarnation, sent by a cloned or restored host.
    pub clone_heartbeats: u8,
    /// kill -9 of the daemon.
    pub daemon_crashes: u8,
    /// Ticks for which the daemon stalls.
    pub stalls: u8,
    /// Saves of the registry that fail.
    pub disk_failures: u8,
    /// Heartbeats that arrive twice.
    pub duplicates: u8,
    /// Commands of an operator: stop, start or restart.
    pub commands: u8,
    /// How many ticks a heartbeat may be on its way. It may overtake others.
    pub delay: u8,
    /// How many heartbeats in a row the network may lose while the daemon listens. Two leave the daemon without a
    /// heartbeat for 60 s of its 90 s.
    pub losses: u8,
}

/// A defect that a test puts into the model to prove that the search finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Defect {
    /// The product as it is.
    #[default]
    None,
    /// The daemon accepts a heartbeat from any pid.
    AcceptsAnyPid,
    /// The daemon takes the pid for proof, and ignores incarnations.
    IgnoresSecret,
    /// The daemon has no heartbeat timeout.
    NoHeartbeatTimeout,
    /// The check of the agent's service passes whatever it finds.
    PassesEveryCheck,
    /// The daemon has a heartbeat timeout of one missed heartbeat.
    ShortHeartbeatTimeout,
    /// A new daemon starts the agents on record without a search for their processes.
    NoAdoption,
    /// A new daemon finds processes only by its records, not by their supervision tags.
    NoSupervisionTags,
    /// A new daemon accepts any process that has the pid on record.
    TrustsPid,
    /// The daemon does not watch an adopted process.
    AdoptsUnwatched,
    /// The daemon takes the end of the main process for the end of its tree.
    ForgetsHelpers,
    /// The daemon handles its deadlines before it reads its sockets.
    JudgesBeforeReading,
    /// Drops an assumption: the network may lose any number of heartbeats.
    UnboundedLoss,
}

/// The check that shows whether the agent hangs, instead of heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Of an HTTP endpoint.
    Http,
    /// Of a TCP port.
    Tcp,
    /// By a program.
    Exec,
}

/// A rule that holds in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// (a) The daemon notices an agent that is dead or hangs.
    DeathIsNoticed,
    /// (b) The daemon does not restart an agent that lives, runs and gets its heartbeats through.
    HealthyIsLeftAlone,
    /// (c) No two processes of the agent run at once.
    OneCopy,
    /// (d) The daemon accepts heartbeats only from the agent's own process.
    OnlyOwnHeartbeatsCount,
    /// (d) The daemon adopts and signals only processes of the agent.
    OtherProgramsAreLeftAlone,
    /// (e) What an agent's main process has left is gone before the next start.
    TreesEndWhole,
    /// The daemon holds restarts only after a stall.
    HoldsHaveAReason,
    /// No event comes in a state whose table refuses it.
    NothingIsRefused,
}

/// How often the search has come across an event. An invariant about an event that never happens holds without meaning.
#[derive(Debug, Default)]
pub struct Counters {
    /// Heartbeats that the daemon accepted.
    pub accepted: AtomicU64,
    /// Heartbeats that the daemon refused.
    pub refused: AtomicU64,
    /// Processes that the daemon started.
    pub started: AtomicU64,
    /// Processes that the daemon adopted.
    pub adopted: AtomicU64,
    /// Main processes that left others of their tree.
    pub remainders: AtomicU64,
    /// Verdicts that ended a process.
    pub condemned: AtomicU64,
    /// Restart holds.
    pub held: AtomicU64,
    /// Agents that the daemon has given up.
    pub given_up: AtomicU64,
    /// Agents that became Degraded.
    pub degraded: AtomicU64,
}

/// The model.
#[derive(Debug, Default)]
pub struct Pair {
    /// What may go wrong, and how often.
    pub bounds: Bounds,
    /// The check of the agent's service. `None`: the agent is judged by its heartbeats.
    pub service: Option<Service>,
    /// The defect under test.
    pub defect: Defect,
    /// What the search has come across.
    pub counters: Arc<Counters>,
}

impl Pair {
    pub(super) fn count(&self, counter: fn(&Counters) -> &AtomicU64) {
        counter(&self.counters).fetch_add(1, Ordering::Relaxed);
    }
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Action {
    Tick,
    DaemonWakes,
    DaemonSaves,
    DaemonFailsToSave,
    DaemonPerforms,
    StartIsReported,
    ExitIsReported(u32),
    DaemonCrashes,
    DaemonStarts,
    DaemonStalls,
    DaemonResumes,
    Delivered(usize),
    DeliveredTwice(usize),
    CloneSends,
    AgentCrashes(u32),
    AgentHangs(u32),
    HelperStarts(u32),
    TreeEndIsReported(u32),
    StrayCopyStarts,
    OtherProgramStarts,
    OperatorStarts,
    OperatorStops,
    OperatorRestarts,
}
