//! What the daemon looks at to see how an agent is. Each look takes [`CHECK_TIMEOUT`](super::registry::CHECK_TIMEOUT) at
//! most, and says what was seen; what that means is [`verdict`](super::verdict)'s matter.
//!
//! What goes wrong on the daemon's own account, or on the host's, is never told as the agent's fault.

pub(crate) mod http;
pub(crate) mod resources;
pub(crate) mod status_file;

pub(crate) use http::HttpCheck;
pub(crate) use resources::ResourceCheck;
pub(crate) use status_file::StatusFileCheck;
