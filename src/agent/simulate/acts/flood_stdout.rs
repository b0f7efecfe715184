//! `flood_stdout`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "flood_stdout",
    sentence: "Text is written to standard output as fast as the rate allows.",
    parameters: &[
        Parameter { name: "line_ends", values: "`true`, `false`", default: "`true`" },
        Parameter { name: "mib_per_s", values: "1 to 1024", default: "10" },
    ],
    timing: Timing::Lasts,
};

/// Text is written to standard output as fast as the rate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FloodStdout {
    /// Whether it has line ends.
    pub line_ends: bool,
    /// MiB per second.
    pub mib_per_s: Within<1, 1024>,
}

impl Default for FloodStdout {
    fn default() -> Self {
        Self { line_ends: true, mib_per_s: Within::nearest(10) }
    }
}
