//! `leak_descriptors`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing, Where};
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
