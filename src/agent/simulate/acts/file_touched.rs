//! `file_touched`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_touched",
    sentence: "The status file gets a new modification time, but no new content.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The status file gets a new modification time, but no new content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTouched {}
