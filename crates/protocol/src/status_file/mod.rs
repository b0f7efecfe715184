//! The status file: what an agent leaves on disk for whoever asks how it is, also after its death.
//!
//! Field by field it is RON that a person can read, or JSON with the same fields. [`text`] turns it into text and back.

pub mod text;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use statemachine::lifecycle::{Event, FaultName, State};

use super::Timestamp;
pub use text::{DecodeError, EncodeError, Format, MAX_BYTES};

/// The version of the fields and of their vocabulary. New fields may come without a new schema, for readers ignore those
/// that they do not know; a field that goes or changes its meaning, a new state, event or fault needs one.
pub const SCHEMA: u32 = 1;

/// All that the file says. The checksum is not in here: it belongs to the text, see [`text`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusFile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who this is.
    pub agent_id: String,
    /// The version of the program.
    pub version: String,
    /// The process that wrote this.
    pub pid: u32,
    /// The boot of the host in which it did, as the kernel names it. Empty if the kernel did not say.
    pub boot_id: String,
    /// When the kernel started the process, in clock ticks since boot: together with `pid` and `boot_id`, enough to tell
    /// it from a later process with the same pid.
    pub process_start: u64,
    /// Which start of this agent this is: one more at each.
    pub incarnation: u64,
    /// Which status this is: one more at each that was to be written.
    pub sequence: u64,
    /// Where the agent is in its life.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Why, for people.
    pub cause: String,
    /// What is wrong.
    pub faults: Vec<FaultEntry>,
    /// When the process started.
    pub started_at: Timestamp,
    /// When this was written, by the wall clock: for people.
    pub updated_at: Timestamp,
    /// When this was written, by `CLOCK_BOOTTIME`: for decisions, since that clock never jumps.
    pub updated_boottime_ns: u64,
    /// `updated_at` and three refresh intervals: past it nobody should believe this file.
    pub valid_until: Timestamp,
    /// Where the API listens.
    pub http: Option<SocketAddr>,
    /// Whether it speaks HTTPS there.
    #[serde(default)]
    pub https: bool,
    /// How the daemon is reached, and how that goes.
    pub heartbeat: HeartbeatEntry,
    /// How the last run ended. `None`: there was none, or nothing is known of it.
    pub previous: Option<Previous>,
    /// The last transitions, oldest first.
    pub history: Vec<TransitionEntry>,
}

/// One fault that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEntry {
    /// Which.
    pub name: FaultName,
    /// Since when.
    pub since: Timestamp,
    /// What was seen, for people.
    pub detail: String,
}

/// How the daemon is reached, and how that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatEntry {
    /// When the daemon last acknowledged one.
    pub last_success: Option<Timestamp>,
    /// How many it acknowledged.
    pub sent: u64,
    /// How many attempts failed.
    pub failed: u64,
    /// How many failed since the last success.
    pub consecutive_failures: u32,
    /// Where they go. `None`: standalone, nothing is sent.
    pub endpoint: Option<String>,
}

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// In what manner.
    pub ended: Ended,
    /// The last state that it wrote down.
    pub state: State,
    /// Its process.
    pub pid: u32,
}

/// In what manner a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Asked to stop, and drained in time.
    Clean,
    /// Asked a second time, or not drained in time.
    Forced,
    /// The start did not succeed.
    Failed,
    /// It never wrote that it is Stopped: killed, crashed, or the power went.
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

/// One move from state to state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionEntry {
    /// The sequence number of the status that showed it first.
    pub sequence: u64,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// When, on the monotonic clock.
    pub monotonic_ns: u64,
    /// From where.
    pub from: State,
    /// To where.
    pub to: State,
    /// On what event.
    pub event: Event,
    /// Why, for people.
    pub cause: String,
}

impl StatusFile {
    /// What the next run says of the one that wrote this file and is no more.
    #[must_use]
    pub fn as_previous(&self) -> Previous {
        Previous { ended: self.ended(), state: self.state, pid: self.pid }
    }

    /// How the run ended, given that it has.
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

/// Why there is no status to be had from a path.
#[derive(Debug)]
pub enum ReadError {
    /// Nothing is there.
    Missing,
    /// Something is there, but it is no regular file.
    NotAFile,
    /// It cannot be read, on account of the reader or of the disk.
    Unreadable(io::Error),
    /// It can be read, but it is not what an agent wrote.
    Corrupt(DecodeError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no status file: has the agent ever been started with it?"),
            Self::NotAFile => f.write_str("not a regular file: name the status file itself"),
            Self::Unreadable(_) => f.write_str("the status file cannot be read"),
            Self::Corrupt(_) => f.write_str("the status file is of no use"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Missing | Self::NotAFile => None,
            Self::Unreadable(error) => Some(error),
            Self::Corrupt(error) => Some(error),
        }
    }
}
