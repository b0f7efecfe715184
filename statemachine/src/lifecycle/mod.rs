//! The agent's lifecycle: Starting → Running ⇄ Degraded → Stopping → Stopped.
//!
//! [`transition`] is the whole of it, a total function from state and event to what follows. [`Machine`] keeps what a
//! function cannot: which faults stand and since when, which parts have proved that they work, the history, the
//! sequence, and the deadlines.

mod faults;
mod machine;
mod transition;

pub use faults::{Fault, FaultName, Faults};
pub use machine::{ExitKind, HISTORY, Input, Limits, Machine, Part, Reaction, Refused, Transition};
pub use transition::{Effect, Event, Lifecycle, State, transition};
