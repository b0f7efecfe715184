//! `heartbeat_incarnation`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use ops_protocol::heartbeat::Heartbeat;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_incarnation",
    sentence: "Heartbeats have another incarnation, such as an old one.",
    parameters: &[Parameter { name: "incarnation", values: "0 to 18446744073709551615", default: "" }],
    timing: Timing::Lasts,
};

/// Heartbeats have another incarnation, such as an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatIncarnation {
    /// The incarnation.
    pub incarnation: u64,
}

impl Behaviour for HeartbeatIncarnation {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatIncarnation {
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, mut heartbeat: Heartbeat, limit: Duration) -> Local<'a, ()> {
        heartbeat.incarnation = self.incarnation;
        Box::pin(wire.send(heartbeat, limit))
    }
}
