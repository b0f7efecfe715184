//! One supervised agent's life: Stopped → Starting → Running ⇄ Unhealthy → Stopping → Stopped, with Backoff after a death
//! and Failed after too many.
//!
//! [`transition`] decides. [`Supervised`] adds the memory: the process, whether the agent is meant to run, the restarts in a
//! row, the one deadline of the present state, and the history.

mod identity;
mod input;
mod interpret;
mod machine;
mod policy;
mod saved;
mod transition;

pub use identity::{BootId, Identity, NotABootId};
pub use input::{Input, Reaction, Refused, Transition};
pub use machine::{HISTORY, STOP_GRACE, Supervised};
pub use policy::{EXIT_CONFIG, Exit, Policy, RestartWhen, STABLE_AFTER};
pub use saved::{Ending, Saved};
pub use transition::{Effect, Event, Signal, State, Supervision, transition};
