//! The inputs and answers of the machine.

use super::exit::Exit;
use super::identity::Identity;
use super::policy::Policy;
use super::reason::Reason;
use super::transition::{Effect, Event, State};
use crate::step;
use crate::time::Now;

/// What happened, as the event loop reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A start is requested, and by what.
    StartRequested(Reason),
    /// A lasting stop is requested, and by what.
    StopRequested(Reason),
    /// A restart is requested, and by what.
    RestartRequested(Reason),
    /// Its configuration changed. A running agent restarts; a stopped one stays stopped.
    SpecChanged(Policy),
    /// All agents that it depends on are Running.
    DependencyReady,
    /// These agents that it depends on are not Running, for people. The next start waits for them.
    DependencyLost(String),
    /// The process of [`Effect::Spawn`] was started.
    Spawned(Identity),
    /// The process of [`Effect::Spawn`] was not started.
    SpawnFailed {
        /// Why.
        reason: String,
        /// Whether the daemon ran out of descriptors, memory or processes. Then it does not count as a retry.
        own_fault: bool,
    },
    /// The process that an earlier daemon started is alive, proved by its identity.
    Adopted(Identity),
    /// The process that an earlier daemon recorded is gone.
    Vanished,
    /// A main process is gone, and other processes of its tree are left. Only that of the present tree changes anything.
    MainGone {
        /// The main process.
        process: Identity,
        /// How it ended.
        exit: Exit,
        /// The number of processes that are left.
        left: usize,
        /// Whether it ended so soon after its start, and so well, that it went to the background.
        daemonized: bool,
    },
    /// A whole tree is gone: its main process, which ended so, and all others. Only that of the present tree changes anything.
    Exited(Identity, Exit),
    /// Some time after SIGKILL, these processes of a tree are left. Only that of the present tree changes anything.
    Unkillable {
        /// The main process of the tree.
        process: Identity,
        /// What is left, for people.
        left: String,
    },
    /// All checks are good.
    FoundHealthy,
    /// A check is bad, and why.
    FoundBad(String),
    /// It has to be restarted for a bad check, and restarts are not held.
    Condemned(Reason),
    /// [`deadline`](super::Supervised::deadline) has come, or may have.
    TimePassed,
}

/// One transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Now,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// The event.
    pub event: Event,
    /// Why, for people.
    pub cause: String,
}

/// What an input leads to.
pub type Reaction = step::Reaction<Effect, Transition>;

/// An event that cannot happen in this state.
pub type Refused = step::Refused<State, Event>;
