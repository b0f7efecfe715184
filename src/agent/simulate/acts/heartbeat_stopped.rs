//! `heartbeat_stopped`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_stopped",
    sentence: "No heartbeat is sent.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// No heartbeat is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatStopped {}
