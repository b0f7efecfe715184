//! `heartbeat_pid`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_pid",
    sentence: "Heartbeats name another process.",
    parameters: &[
        Parameter { name: "pid", values: "1 to 4194304", default: "1" },
    ],
    timing: Timing::Lasts,
};

/// Heartbeats name another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatPid {
    /// The pid.
    pub pid: Within<1, 4_194_304>,
}

impl Default for HeartbeatPid {
    fn default() -> Self {
        Self { pid: Within::nearest(1) }
    }
}
