//! `heartbeat_trickle`.

use std::time::Duration;

use async_io::Timer;
use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::raw::send_beside;
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use ops_protocol::heartbeat::Heartbeat;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_trickle",
    sentence: "Instead of each heartbeat, its bytes are sent at one per second.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Instead of each heartbeat, its bytes are sent at one per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatTrickle {}

impl Behaviour for HeartbeatTrickle {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatTrickle {
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, heartbeat: Heartbeat, _: Duration) -> Local<'a, ()> {
        send_beside(wire, (*self).into(), async move |mut raw| {
            let body = raw.body(&heartbeat);
            for byte in [raw.head(body.len() as u64), body].concat().chunks(1) {
                if !raw.send(byte).await {
                    return;
                }
                Timer::after(Duration::from_secs(1)).await;
            }
            raw.answer().await;
        });
        Box::pin(async {})
    }
}
