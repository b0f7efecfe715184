//! `heartbeat_late`.

use std::time::Duration;

use async_io::Timer;
use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use crate::agent::simulate::values;
use ops_protocol::heartbeat::Heartbeat;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_late",
    sentence: "Each heartbeat is sent late.",
    parameters: &[Parameter { name: "by", values: "a duration", default: "" }],
    timing: Timing::Lasts,
};

/// Each heartbeat is sent late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatLate {
    /// How late.
    #[serde(with = "values::duration")]
    pub by: Duration,
}

impl Behaviour for HeartbeatLate {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatLate {
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, heartbeat: Heartbeat, limit: Duration) -> Local<'a, ()> {
        let (by, later) = (self.by, wire.clone());
        wire.beside(async move {
            Timer::after(by).await;
            later.send(heartbeat, limit).await;
        });
        Box::pin(async {})
    }
}
