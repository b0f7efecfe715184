//! `heartbeat_stopped`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use ops_protocol::heartbeat::Heartbeat;

pub(super) const INFO: ActInfo =
    ActInfo { name: "heartbeat_stopped", sentence: "No heartbeat is sent.", parameters: &[], timing: Timing::Lasts };

/// No heartbeat is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatStopped {}

impl Behaviour for HeartbeatStopped {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatStopped {
    fn send<'a>(&'a self, _: &'a HeartbeatAccess, _: Heartbeat, _: Duration) -> Local<'a, ()> {
        Box::pin(async {})
    }
}
