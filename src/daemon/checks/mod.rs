//! What the daemon looks at to see how an agent is. Each look takes [`CHECK_TIMEOUT`](super::registry::CHECK_TIMEOUT) at
//! most, and says what was seen; what that means is [`verdict`](super::verdict)'s matter.
//!
//! What goes wrong on the daemon's own account, or on the host's, is never told as the agent's fault.

mod http;
mod resources;
mod status_file;

pub use http::{BadEndpoint, HttpCheck};
pub use resources::ResourceCheck;
pub use status_file::StatusFileCheck;
