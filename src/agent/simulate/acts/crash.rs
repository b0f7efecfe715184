//! `crash`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "crash",
    sentence: "The process kills itself with a signal that has its default action.",
    parameters: &[
        Parameter { name: "signal", values: "`kill`, `segv`, `abrt`", default: "" },
    ],
    timing: Timing::Once,
};

/// The process kills itself with a signal that has its default action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// The signal.
    pub signal: CrashSignal,
}

/// A signal that ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashSignal {
    /// SIGKILL.
    Kill,
    /// SIGSEGV.
    Segv,
    /// SIGABRT.
    Abrt,
}
