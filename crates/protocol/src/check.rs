//! The checks of an agent, and their verdicts.

use serde::{Deserialize, Serialize};

/// The checks of an agent, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Whether the process is alive.
    Process,
    /// Whether it sends heartbeats.
    Heartbeat,
    /// Whether its HTTP endpoint answers with 2xx.
    Http,
    /// Whether its TCP port accepts connections.
    Tcp,
    /// Whether the program that checks it finds it good.
    Exec,
    /// Whether its status file is fresh, whole and its own.
    StatusFile,
    /// Whether CPU, memory and open files stay below their thresholds.
    Resources,
}

impl Check {
    /// All checks, in the order in which they are shown.
    pub const ALL: [Self; 7] =
        [Self::Process, Self::Heartbeat, Self::Http, Self::Tcp, Self::Exec, Self::StatusFile, Self::Resources];

    /// Whether it tells an agent that works from one that hangs.
    #[must_use]
    pub const fn is_of_liveness(self) -> bool {
        match self {
            Self::Heartbeat | Self::Http | Self::Tcp | Self::Exec | Self::StatusFile => true,
            Self::Process | Self::Resources => false,
        }
    }

    /// The name in the API, in metrics and on the terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Heartbeat => "heartbeat",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Exec => "exec",
            Self::StatusFile => "status_file",
            Self::Resources => "resources",
        }
    }
}

/// The verdict of a check, without details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckVerdict {
    /// It is not configured.
    Off,
    /// It passes.
    Ok,
    /// It passes, with something to report.
    Noted,
    /// It fails.
    Bad,
    /// It could not be done, or has not failed often enough. Never counts against the agent.
    Unknown,
}

impl CheckVerdict {
    /// The name in the API and on the terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Ok => "ok",
            Self::Noted => "noted",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the check passes. `None` where nothing is known: it is off or unknown.
    #[must_use]
    pub const fn passes(self) -> Option<bool> {
        match self {
            Self::Ok | Self::Noted => Some(true),
            Self::Bad => Some(false),
            Self::Off | Self::Unknown => None,
        }
    }
}
