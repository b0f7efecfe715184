//! The daemon's faces to the outside: HTTP and a Unix socket, both in front of one [`Desk`](super::desk::Desk).

pub mod http;
mod metrics;
pub mod socket;

pub use metrics::{Heard, Metrics};

/// What an accepted heartbeat is told, on either way.
const RECEIVED: &str = "heartbeat received";
