//! The fields of a status file.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use statemachine::lifecycle::{Event, FaultName, State};

use crate::Timestamp;

/// The version of the fields and their vocabulary. Readers ignore unknown fields, so a new field needs no new schema.
/// A field that goes or changes its meaning needs one, and so does a new state, event or fault.
pub const SCHEMA: u32 = 1;

/// The size limit of a status file, in bytes. 32 transitions with clipped and escaped causes take less than half of it.
pub const MAX_BYTES: usize = 256 * 1024;

/// The content of the file, without the checksum, which [`StatusFile::encode`] adds to the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusFile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The agent's ID.
    pub agent_id: String,
    /// The version of the agent program.
    pub version: String,
    /// The process that wrote this file.
    pub pid: u32,
    /// The kernel's ID of the boot in which the file was written. Empty if the kernel gave none.
    pub boot_id: String,
    /// When the kernel started the process, in clock ticks since boot. With `pid` and `boot_id` it distinguishes the
    /// process from a later one with the same pid.
    pub process_start: u64,
    /// The inode of the writer's PID namespace, in which `pid` is valid. 0 if `/proc` does not show it.
    #[serde(default)]
    pub pid_namespace: u64,
    /// The number of this start of the agent. It grows by one with each start.
    pub incarnation: u64,
    /// The number of this status. It grows by one with each status that is to be written.
    pub sequence: u64,
    /// The lifecycle state.
    pub state: State,
    /// When the agent entered that state.
    pub since: Timestamp,
    /// Why it did, for people.
    pub cause: String,
    /// The active faults.
    pub faults: Vec<FaultEntry>,
    /// When the process started.
    pub started_at: Timestamp,
    /// When this was written, by the wall clock. For people.
    pub updated_at: Timestamp,
    /// When this was written, by `CLOCK_BOOTTIME`. For decisions, because this clock never jumps.
    pub updated_boottime_ns: u64,
    /// `updated_at` plus three refresh intervals. After that the file is stale.
    pub valid_until: Timestamp,
    /// The address on which the API listens.
    pub http: Option<SocketAddr>,
    /// Whether the API uses HTTPS.
    #[serde(default)]
    pub https: bool,
    /// Where heartbeats go, and whether they arrive.
    pub heartbeat: HeartbeatEntry,
    /// How the last run ended. `None`: this is the first run, or the last run is unknown.
    pub previous: Option<Previous>,
    /// The last transitions, oldest first.
    pub history: Vec<TransitionEntry>,
}

/// One active fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEntry {
    /// The name of the fault.
    pub name: FaultName,
    /// When it was raised.
    pub since: Timestamp,
    /// What was observed, for people.
    pub detail: String,
}

/// Where heartbeats go, and whether they arrive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatEntry {
    /// When the daemon last acknowledged a heartbeat.
    pub last_success: Option<Timestamp>,
    /// How many heartbeats the daemon acknowledged.
    pub sent: u64,
    /// How many delivery attempts failed.
    pub failed: u64,
    /// How many attempts failed since the last success.
    pub consecutive_failures: u32,
    /// The daemon's address. `None`: no daemon is configured.
    pub endpoint: Option<String>,
}

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The manner of the end.
    pub ended: Ended,
    /// The last state that it wrote.
    pub state: State,
    /// Its process ID.
    pub pid: u32,
}

/// The manner in which a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// A stop was requested, and it drained in time.
    Clean,
    /// A stop was requested twice, or it did not drain in time.
    Forced,
    /// The start failed.
    Failed,
    /// It never wrote `Stopped`: it was killed or crashed, or the power failed.
    Unclean,
}

impl Ended {
    /// The name in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Forced => "forced",
            Self::Failed => "failed",
            Self::Unclean => "unclean",
        }
    }
}

/// One transition from state to state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionEntry {
    /// The sequence number of the status that first showed it.
    pub sequence: u64,
    /// When it happened, by the wall clock.
    pub at: Timestamp,
    /// When it happened, by the monotonic clock.
    pub monotonic_ns: u64,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// The event that caused it.
    pub event: Event,
    /// Why it happened, for people.
    pub cause: String,
}

impl StatusFile {
    /// This run as the next run reports it.
    #[must_use]
    pub fn as_previous(&self) -> Previous {
        Previous { ended: self.ended(), state: self.state, pid: self.pid }
    }

    /// How the run ended. Call it only when the run has ended.
    #[must_use]
    pub fn ended(&self) -> Ended {
        if self.state != State::Stopped {
            return Ended::Unclean;
        }
        let last = self.history.last().map(|transition| transition.event);
        if last == Some(Event::Drained) {
            Ended::Clean
        } else if last == Some(Event::StartFailed) {
            Ended::Failed
        } else {
            Ended::Forced
        }
    }
}
