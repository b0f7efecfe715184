//! `leak_descriptors`.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::resource::{TICKS_PER_S, Ticks, in_child, run_in};
use super::{ActInfo, Begin, Behaviour, Parameter, Timing, Where};
use crate::agent::simulate::plan::Step;
use crate::agent::simulate::state::Held;
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "leak_descriptors",
    sentence: "Descriptors are opened and kept, up to a ceiling or the limit of the process.",
    parameters: &[
        Parameter { name: "per_s", values: "1 to 10000", default: "10" },
        Parameter { name: "ceiling", values: "1 to 1000000", default: "256" },
        Parameter { name: "in", values: "`self`, `child`", default: "`self`" },
    ],
    timing: Timing::Lasts,
};

/// Descriptors are opened and kept, up to a ceiling or the limit of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeakDescriptors {
    /// Descriptors per second.
    pub per_s: Within<1, 10_000>,
    /// The ceiling.
    pub ceiling: Within<1, 1_000_000>,
    /// Where.
    #[serde(rename = "in")]
    pub place: Where,
}

impl Default for LeakDescriptors {
    fn default() -> Self {
        Self { per_s: Within::nearest(10), ceiling: Within::nearest(256), place: Where::default() }
    }
}

impl Behaviour for LeakDescriptors {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        let act = *self;
        run_in(self.place, begin, move |ticks| act.leak(ticks))
    }

    fn child(&self, _: &Step, _: &[OsString]) -> ExitCode {
        in_child(|ticks| self.leak(ticks))
    }
}

impl LeakDescriptors {
    fn leak(&self, ticks: &Ticks) {
        let (mut kept, mut due) = (Vec::new(), 0);
        while ticks.next() {
            due = self.ceiling.get().min(due + self.per_s.get().div_ceil(TICKS_PER_S));
            while kept.len() as u64 != due {
                // At the limit of the process, what is open stays open.
                let Ok(file) = File::open("/dev/null") else { break };
                kept.push(file);
            }
        }
    }
}
