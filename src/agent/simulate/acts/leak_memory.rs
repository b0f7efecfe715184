//! `leak_memory`.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::resource::{TICKS_PER_S, Ticks, in_child, run_in};
use super::{ActInfo, Begin, Behaviour, Parameter, Timing, Where};
use crate::agent::simulate::plan::Step;
use crate::agent::simulate::state::Held;
use crate::agent::simulate::values::Within;

/// The bytes of a MiB.
const MIB: u64 = 1 << 20;

pub(super) const INFO: ActInfo = ActInfo {
    name: "leak_memory",
    sentence: "Memory is allocated, written to and kept, up to a ceiling.",
    parameters: &[
        Parameter { name: "mib_per_s", values: "1 to 1024", default: "10" },
        Parameter { name: "ceiling_mib", values: "1 to 65536", default: "256" },
        Parameter { name: "in", values: "`self`, `child`", default: "`self`" },
    ],
    timing: Timing::Lasts,
};

/// Memory is allocated, written to and kept, up to a ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeakMemory {
    /// MiB per second.
    pub mib_per_s: Within<1, 1024>,
    /// The ceiling in MiB.
    pub ceiling_mib: Within<1, 65_536>,
    /// Where.
    #[serde(rename = "in")]
    pub place: Where,
}

impl Default for LeakMemory {
    fn default() -> Self {
        Self { mib_per_s: Within::nearest(10), ceiling_mib: Within::nearest(256), place: Where::default() }
    }
}

impl Behaviour for LeakMemory {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        let act = *self;
        run_in(self.place, begin, move |ticks| act.leak(ticks))
    }

    fn child(&self, _: &Step, _: &[OsString]) -> ExitCode {
        in_child(|ticks| self.leak(ticks))
    }
}

impl LeakMemory {
    fn leak(&self, ticks: &Ticks) {
        let ceiling = self.ceiling_mib.get() * MIB;
        let per_tick = self.mib_per_s.get() * MIB / TICKS_PER_S;
        let (mut kept, mut bytes) = (Vec::new(), 0);
        while ticks.next() {
            let more = per_tick.min(ceiling - bytes);
            if more > 0 {
                // Zeros would not use memory.
                kept.push(vec![1_u8; usize::try_from(more).unwrap_or_default()]);
                bytes += more;
            }
        }
    }
}
