//! `heartbeat_pid`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use crate::agent::simulate::values::Within;
use ops_protocol::heartbeat::Heartbeat;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_pid",
    sentence: "Heartbeats name another process.",
    parameters: &[Parameter { name: "pid", values: "1 to 4194304", default: "1" }],
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

impl Behaviour for HeartbeatPid {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatPid {
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, mut heartbeat: Heartbeat, limit: Duration) -> Local<'a, ()> {
        heartbeat.pid = u32::try_from(self.pid.get()).unwrap_or(u32::MAX);
        Box::pin(wire.send(heartbeat, limit))
    }
}
