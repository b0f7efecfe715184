//! `heartbeat_id`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_id",
    sentence: "Heartbeats name another agent.",
    parameters: &[
        Parameter { name: "agent_id", values: "a text", default: "" },
    ],
    timing: Timing::Lasts,
};

/// Heartbeats name another agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatId {
    /// The ID.
    pub agent_id: String,
}
