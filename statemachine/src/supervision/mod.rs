//! One supervised agent's life: Stopped → Starting → Running ⇄ Unhealthy → Stopping → Stopped, with Backoff after a death
//! and Failed after too many.
//!
//! [`transition`] decides. [`Supervised`] adds the memory: the process, whether the agent is meant to run, the restarts in a
//! row, the one deadline of the present state, and the history.

mod exit;
mod identity;
mod input;
mod interpret;
mod machine;
mod memory;
mod policy;
mod reason;
mod saved;
mod stop;
mod transition;

pub use exit::{EXIT_CONFIG, Exit, ExitCodes, LastExit};
pub use identity::{BootId, Identity, NotABootId};
pub use input::{Input, Reaction, Refused, Transition};
pub use machine::{HISTORY, Supervised};
pub use policy::{Policy, RestartWhen};
pub use reason::{Reason, ReasonCode, RecordedReason};
pub use saved::{Ending, Saved};
pub use stop::{StopScope, StopSettings, StopSignal};
pub use transition::{Effect, Event, State, Supervision, transition};
