//! `heartbeat_trickle`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_trickle",
    sentence: "Instead of each heartbeat, its bytes are sent at one per second.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Instead of each heartbeat, its bytes are sent at one per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatTrickle {}
