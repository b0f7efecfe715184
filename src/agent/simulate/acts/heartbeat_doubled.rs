//! `heartbeat_doubled`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_doubled",
    sentence: "Each heartbeat is sent twice.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Each heartbeat is sent twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatDoubled {}
