//! What a machine is told, and what it answers.

use super::identity::Identity;
use super::policy::{Exit, Policy};
use super::transition::{Effect, Event, State};
use crate::step;
use crate::time::Now;

/// What happened, as the driver tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody asked for it to run, and who.
    StartRequested(String),
    /// Somebody asked for it to end and stay so, and who.
    StopRequested(String),
    /// Somebody asked for it to end and run again, and who.
    RestartRequested(String),
    /// Its configuration is another one now. Restarts what is wanted; what was stopped stays so.
    SpecChanged(Policy),
    /// The process that [`Effect::Spawn`] asked for is there.
    Spawned(Identity),
    /// It is not, and why.
    SpawnFailed {
        /// What went wrong.
        reason: String,
        /// Whether that was the daemon's own want of descriptors, memory or processes: it counts for no give-up.
        own_fault: bool,
    },
    /// The process that an earlier daemon had started is there, proved by its whole identity.
    Adopted(Identity),
    /// What an earlier daemon had on record is not there any more.
    Vanished,
    /// A process is gone. News of any other than the present one changes nothing.
    Exited(Identity, Exit),
    /// Everything that is looked at is good.
    FoundHealthy,
    /// Something that is looked at is bad, and what.
    FoundBad(String),
    /// It is to be restarted for that, and nothing speaks against it.
    Condemned(String),
    /// [`deadline`](super::Supervised::deadline) has come, or may have.
    TimePassed,
}

/// One move from state to state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Now,
    /// From where.
    pub from: State,
    /// To where.
    pub to: State,
    /// On what event.
    pub event: Event,
    /// Why, for people.
    pub cause: String,
}

/// What an input led to.
pub type Reaction = step::Reaction<Effect, Transition>;

/// An event that cannot happen in this state.
pub type Refused = step::Refused<State, Event>;
