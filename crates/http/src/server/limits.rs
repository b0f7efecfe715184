//! Limits on what peers may use of the server.

use std::time::Duration;

use super::handler::IGNORED_BODY_BYTES;

/// Sizes, counts and timeouts. The defaults suit an API that a few probes and scrapers use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// The size limit of a request head (request line and headers), in bytes.
    pub head_bytes: usize,
    /// The time limit from the accept or the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// The size limit of a request body, in bytes.
    pub body_bytes: usize,
    /// The time limit from the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// The size limit of all request bodies together, in bytes, beside one body. At the limit, the connection that has waited
    /// longest for the rest of its body is closed.
    pub all_bodies_bytes: usize,
    /// The size limit of all responses that wait for their peers, in bytes. At the limit, the connection with the oldest one is
    /// closed.
    pub all_responses_bytes: usize,
    /// How long a write may make no progress before the connection is closed.
    pub write_timeout: Duration,
    /// How long a kept-alive connection may be idle.
    pub idle_timeout: Duration,
    /// The maximum number of open connections.
    pub connections: usize,
    /// The maximum number of open connections per peer address.
    pub connections_per_peer: usize,
    /// The maximum number of open connections from loopback, which all processes of this host share.
    pub connections_loopback: usize,
}

impl ServerLimits {
    /// The defaults of the agent: no request to it needs a body.
    #[must_use]
    pub fn of_agent() -> Self {
        Self { body_bytes: IGNORED_BODY_BYTES, ..Self::default() }
    }

    /// The defaults of the daemon: every agent of the host keeps one connection from loopback.
    #[must_use]
    pub fn of_daemon() -> Self {
        Self {
            connections: 2048,
            connections_loopback: 2048,
            // Longer than the usual heartbeat interval, so that the connection is still open for the next heartbeat.
            idle_timeout: Duration::from_secs(120),
            ..Self::default()
        }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head_bytes: 8 * 1024,
            head_timeout: Duration::from_secs(5),
            body_bytes: 64 * 1024,
            body_timeout: Duration::from_secs(10),
            all_bodies_bytes: 4 << 20,
            all_responses_bytes: 64 << 20,
            write_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            connections: 1024,
            connections_per_peer: 64,
            connections_loopback: 512,
        }
    }
}
