//! `burn_cpu`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing, Where};
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "burn_cpu",
    sentence: "Threads run without a pause.",
    parameters: &[
        Parameter { name: "threads", values: "1 to 64", default: "1" },
        Parameter { name: "in", values: "`self`, `child`", default: "`self`" },
    ],
    timing: Timing::Lasts,
};

/// Threads run without a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BurnCpu {
    /// The number of threads.
    pub threads: Within<1, 64>,
    /// Where.
    #[serde(rename = "in")]
    pub place: Where,
}

impl Default for BurnCpu {
    fn default() -> Self {
        Self { threads: Within::nearest(1), place: Where::default() }
    }
}
