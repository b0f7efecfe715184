//! `crash`.

use std::io;

use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGABRT, SIGKILL, SIGSEGV};
use signal_hook::low_level::emulate_default_handler;

use super::{ActInfo, Begin, Behaviour, Parameter, Timing};
use crate::agent::simulate::state::Held;

pub(super) const INFO: ActInfo = ActInfo {
    name: "crash",
    sentence: "The process kills itself with a signal that has its default action.",
    parameters: &[Parameter { name: "signal", values: "`kill`, `segv`, `abrt`", default: "" }],
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

impl Behaviour for Crash {
    fn begin(&self, _: &Begin<'_>) -> io::Result<Option<Held>> {
        let signal = match self.signal {
            CrashSignal::Kill => SIGKILL,
            CrashSignal::Segv => SIGSEGV,
            CrashSignal::Abrt => SIGABRT,
        };
        // The standard library handles SIGSEGV, so the default action has to be restored first.
        emulate_default_handler(signal).map(|()| None)
    }
}
