//! The published view of the agent: one value, made by the loop and replaced as a whole.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use statemachine::lifecycle::Machine;

/// The agent at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The agent ID.
    pub agent_id: Arc<str>,
    /// The process ID.
    pub pid: u32,
    /// State, faults, history, incarnation, sequence.
    pub lifecycle: Arc<Machine>,
    /// The destination and the counters of heartbeats.
    pub heartbeat: HeartbeatView,
    /// The CPU and memory of the process.
    pub usage: Usage,
    /// Where the API listens.
    pub http: Option<SocketAddr>,
    /// Whether the API uses HTTPS.
    pub https: bool,
}

/// The destination and the counters of heartbeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeartbeatView {
    /// The destination of heartbeats. `None`: standalone, none are sent.
    pub endpoint: Option<String>,
    /// When the daemon last acknowledged a heartbeat.
    pub last_success: Option<SystemTime>,
    /// The number of acknowledged heartbeats.
    pub sent: u64,
    /// The number of failed attempts.
    pub failed: u64,
    /// The number of failed attempts since the last success.
    pub consecutive_failures: u32,
}

/// The CPU and memory of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Share of the whole machine since the last sample, in percent, 0 to 100.
    pub cpu_percent: f64,
    /// Resident set size in bytes.
    pub memory_bytes: u64,
}

/// Holds the latest snapshot. The loop writes it, the other parts read it.
#[derive(Debug, Clone)]
pub struct Published(Arc<Mutex<Arc<Snapshot>>>);

impl Published {
    /// Holds the first snapshot.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(first))))
    }

    /// The latest snapshot.
    #[must_use]
    pub fn get(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces it. Only the loop does.
    pub fn set(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}
