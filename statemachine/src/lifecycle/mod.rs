//! The agent's lifecycle: Starting → Running ⇄ Degraded → Stopping → Stopped.
//!
//! [`transition`] decides: a total function from state and event to effects. [`Machine`] adds the memory: faults, proved parts,
//! history, sequence and deadlines.

mod faults;
mod input;
mod machine;
mod transition;

pub use faults::{Fault, FaultName, Faults};
pub use input::{ExitKind, Input, Limits, Part, Reaction, Refused, Transition};
pub use machine::{HISTORY, Machine};
pub use transition::{Effect, Event, Lifecycle, State, transition};
