//! Why an agent was restarted, is not restarted, or was stopped.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

/// A reason: its code for programs, and its evidence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The code.
    pub code: ReasonCode,
    /// What was seen, or who gave the command.
    pub text: String,
}

impl Reason {
    /// A reason.
    #[must_use]
    pub fn new(code: ReasonCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// A reason with its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedReason {
    /// When, on the wall clock.
    pub at: SystemTime,
    /// The reason.
    pub reason: Reason,
}

/// All reasons. The list is closed, so that a name can be the label of a metric.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, VariantArray, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ReasonCode {
    /// The command `start`.
    StartCommand,
    /// The command `stop`.
    StopCommand,
    /// The command `restart`.
    RestartCommand,
    /// The daemon started, and the configuration enables the agent.
    DaemonStarted,
    /// The daemon stops all its agents, then itself.
    DaemonStopped,
    /// Settings that its process is started with have changed, or the agent is new.
    ConfigurationChanged,
    /// The configuration disables the agent.
    Disabled,
    /// The configuration has the agent no longer.
    Removed,
    /// The heartbeat check is bad.
    Heartbeat,
    /// The HTTP check is bad.
    Http,
    /// The TCP check is bad.
    Tcp,
    /// The program that checks the agent finds it bad.
    Exec,
    /// The check of the status file is bad.
    StatusFile,
    /// A resource is above its threshold.
    Resources,
    /// It was not ready in time.
    NotReady,
    /// The process ended with a code that means success.
    ExitSuccess,
    /// The process ended with a code that means failure.
    ExitFailure,
    /// The process ended with a code after which a restart cannot help.
    ExitNoRestart,
    /// The process was killed by a signal that the daemon did not send.
    Killed,
    /// The process is gone, and the daemon could not see how it ended.
    Vanished,
    /// The process could not be started.
    NotStarted,
    /// The process could not be started, because the daemon ran out of descriptors, memory or processes.
    DaemonShortage,
    /// The program went to the background.
    Daemonized,
    /// Too many restarts in a row.
    MaxRetries,
    /// Processes are left that SIGKILL does not end.
    Unkillable,
    /// A hold of one agent: the command `hold`.
    HoldCommand,
    /// A hold: the host was suspended.
    Suspended,
    /// A hold: the daemon itself stalled.
    Stalled,
    /// A hold: most agents are bad or late.
    MassFailure,
}

impl ReasonCode {
    /// All reasons.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name in JSON and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
