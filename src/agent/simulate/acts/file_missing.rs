//! `file_missing`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_missing",
    sentence: "Before each write, the status file is missing for a moment.",
    parameters: &[
        Parameter { name: "gap_ms", values: "10 to 900", default: "300" },
    ],
    timing: Timing::Lasts,
};

/// Before each write, the status file is missing for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileMissing {
    /// How long it is missing, in milliseconds.
    pub gap_ms: Within<10, 900>,
}

impl Default for FileMissing {
    fn default() -> Self {
        Self { gap_ms: Within::nearest(300) }
    }
}
