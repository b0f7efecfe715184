//! The inputs and answers of the machine.

use std::time::Duration;

use strum::VariantArray;

use super::faults::FaultName;
use super::transition::{Effect, Event, State};
use crate::step;
use crate::time::Now;

/// A part that has to prove that it works before the agent is Running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Part {
    /// The HTTP listener accepts connections.
    Api,
    /// The status file was written, or the write failed and raised a fault.
    StatusFile,
    /// The agent's own CPU and memory use was sampled.
    Probes,
}

impl Part {
    /// The name in `/livez?verbose` and `/readyz?verbose`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::StatusFile => "status_file",
            Self::Probes => "probes",
        }
    }
}

/// What happened, as the event loop reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A required part has proved that it works.
    PartProved(Part),
    /// The start cannot succeed, and why.
    StartFailed(String),
    /// A fault is raised, with its detail.
    FaultRaised(FaultName, String),
    /// A fault is cleared.
    FaultCleared(FaultName),
    /// A reload is requested.
    ReloadRequested,
    /// The next heartbeat is due.
    HeartbeatDue,
    /// The end is requested, and by what.
    StopRequested(String),
    /// The last heartbeat is sent or given up, and no request is in flight.
    Drained,
    /// [`deadline`](super::Machine::deadline) has come, or may have.
    TimePassed,
}

/// The time limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the proof of the last part.
    pub start: Duration,
    /// From the request to stop to the end of the drain.
    pub grace: Duration,
    /// The interval between two writes of the status file.
    pub refresh: Duration,
}

/// One transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The sequence number of the status that shows it first.
    pub sequence: u64,
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

/// How the agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// It was stopped and drained in time.
    Clean,
    /// It was stopped a second time, or did not drain in time.
    Forced,
    /// The start failed.
    Failed,
}
