//! `file_deleted`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_deleted",
    sentence: "The status file is deleted, and not written any more.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The status file is deleted, and not written any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDeleted {}
