//! `heartbeat_doubled`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use ops_protocol::heartbeat::Heartbeat;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_doubled",
    sentence: "Each heartbeat is sent twice.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Each heartbeat is sent twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatDoubled {}

impl Behaviour for HeartbeatDoubled {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatDoubled {
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, heartbeat: Heartbeat, limit: Duration) -> Local<'a, ()> {
        Box::pin(async move {
            wire.send(heartbeat.clone(), limit).await;
            wire.send(heartbeat, limit).await;
        })
    }
}
