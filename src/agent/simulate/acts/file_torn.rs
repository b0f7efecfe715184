//! `file_torn`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_torn",
    sentence: "Only the first half of the status file is written.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Only the first half of the status file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTorn {}
