//! `file_incarnation`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_incarnation",
    sentence: "The status file has an earlier incarnation.",
    parameters: &[
        Parameter { name: "back", values: "1 to 1000000", default: "1" },
    ],
    timing: Timing::Lasts,
};

/// The status file has an earlier incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileIncarnation {
    /// How many starts earlier.
    pub back: Within<1, 1_000_000>,
}

impl Default for FileIncarnation {
    fn default() -> Self {
        Self { back: Within::nearest(1) }
    }
}
