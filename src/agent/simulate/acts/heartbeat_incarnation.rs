//! `heartbeat_incarnation`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_incarnation",
    sentence: "Heartbeats have another incarnation, such as an old one.",
    parameters: &[
        Parameter { name: "incarnation", values: "0 to 18446744073709551615", default: "" },
    ],
    timing: Timing::Lasts,
};

/// Heartbeats have another incarnation, such as an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatIncarnation {
    /// The incarnation.
    pub incarnation: u64,
}
