//! `heartbeat_huge`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_huge",
    sentence: "Instead of heartbeats, one message without an end is sent.",
    parameters: &[
        Parameter { name: "mib", values: "1 to 4096", default: "1024" },
    ],
    timing: Timing::Lasts,
};

/// Instead of heartbeats, one message without an end is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatHuge {
    /// Its size in MiB.
    pub mib: Within<1, 4096>,
}

impl Default for HeartbeatHuge {
    fn default() -> Self {
        Self { mib: Within::nearest(1024) }
    }
}
