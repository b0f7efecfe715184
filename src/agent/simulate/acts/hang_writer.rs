//! `hang_writer`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "hang_writer",
    sentence: "Writes of the status file hang, as on a disk that does not answer.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Writes of the status file hang, as on a disk that does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HangWriter {}
