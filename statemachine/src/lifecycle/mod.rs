//! The agent's lifecycle: Starting → Running ⇄ Degraded → Stopping → Stopped.
//!
//! [`transition`] decides: a total function from state and event to effects. [`Machine`] adds the memory: faults, proved parts,
//! history, sequence and deadlines.

mod faults;
mod machine;
mod transition;

pub use faults::{Fault, FaultName, Faults};
pub use machine::{ExitKind, HISTORY, Input, Limits, Machine, Part, Reaction, Refused, Transition};
pub use transition::{Effect, Event, Lifecycle, State, transition};
