//! What one peer, and all of them together, may take from the server.

use std::time::Duration;

/// Sizes, counts and deadlines. The defaults suit an API that a handful of probes and scrapers use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// The longest request head, in bytes: request line and headers.
    pub head_bytes: usize,
    /// From the first byte of a request, or from the accept, to the end of its head.
    pub head_timeout: Duration,
    /// The longest request body, in bytes.
    pub body_bytes: usize,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// How long one write may make no progress before the peer is given up.
    pub write_timeout: Duration,
    /// How long a kept-alive connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How many connections may be open.
    pub connections: usize,
    /// How many of them may come from one address.
    pub connections_per_peer: usize,
    /// The same for loopback, which is one address for everybody on this host.
    pub connections_loopback: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head_bytes: 8 * 1024,
            head_timeout: Duration::from_secs(5),
            body_bytes: 64 * 1024,
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            connections: 1024,
            connections_per_peer: 64,
            connections_loopback: 512,
        }
    }
}
