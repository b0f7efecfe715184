//! `leak_memory`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing, Where};
use crate::agent::simulate::values::Within;

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
