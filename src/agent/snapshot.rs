//! The read-only view of the agent that everybody else gets: one value, made by the loop, replaced as a whole.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use statemachine::lifecycle::Machine;

/// All that may be said of the agent at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Who this is.
    pub agent_id: Arc<str>,
    /// This process.
    pub pid: u32,
    /// State, faults, history, incarnation, sequence.
    pub lifecycle: Arc<Machine>,
    /// How the daemon is reached, and how that goes.
    pub heartbeat: HeartbeatView,
    /// What the process uses.
    pub usage: Usage,
    /// Where the API listens.
    pub http: Option<SocketAddr>,
    /// Whether it speaks HTTPS there.
    pub https: bool,
}

/// How the daemon is reached, and how that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeartbeatView {
    /// Where heartbeats go. `None`: standalone, nothing is sent.
    pub endpoint: Option<String>,
    /// When the daemon last acknowledged one.
    pub last_success: Option<SystemTime>,
    /// How many it acknowledged.
    pub sent: u64,
    /// How many attempts failed.
    pub failed: u64,
    /// How many failed since the last success.
    pub consecutive_failures: u32,
}

/// What the process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Share of the whole machine since the last sample, in percent, 0 to 100.
    pub cpu_percent: f64,
    /// Resident set size in bytes.
    pub memory_bytes: u64,
}

/// Where the loop puts the latest snapshot and everybody else finds it.
#[derive(Debug, Clone)]
pub struct Published(Arc<Mutex<Arc<Snapshot>>>);

impl Published {
    /// With the first snapshot in it.
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
