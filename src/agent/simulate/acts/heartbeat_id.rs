//! `heartbeat_id`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use ops_protocol::heartbeat::Heartbeat;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_id",
    sentence: "Heartbeats name another agent.",
    parameters: &[Parameter { name: "agent_id", values: "a text", default: "" }],
    timing: Timing::Lasts,
};

/// Heartbeats name another agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatId {
    /// The ID.
    pub agent_id: String,
}

impl Behaviour for HeartbeatId {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatId {
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, mut heartbeat: Heartbeat, limit: Duration) -> Local<'a, ()> {
        heartbeat.agent_id.clone_from(&self.agent_id);
        Box::pin(wire.send(heartbeat, limit))
    }
}
