//! `heartbeat_malformed`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_malformed",
    sentence: "Instead of each heartbeat, half of one is sent.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Instead of each heartbeat, half of one is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatMalformed {}
