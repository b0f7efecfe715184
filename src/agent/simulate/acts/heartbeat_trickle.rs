//! `heartbeat_trickle`.

use std::time::Duration;

use async_io::Timer;
use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::raw::Raw;
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
        let (act, wire) = (*self, wire.clone());
        if wire.is_idle() {
            wire.clone().beside(async move {
                let work = async {
                    let Some(mut raw) = Raw::connect(&wire).await else { return };
                    let body = raw.body(&heartbeat);
                    for byte in [raw.head(body.len() as u64), body].concat().chunks(1) {
                        if !raw.send(byte).await {
                            return;
                        }
                        Timer::after(Duration::from_secs(1)).await;
                    }
                    raw.answer().await;
                };
                wire.while_in_progress(act.into(), work).await;
            });
        }
        Box::pin(async {})
    }
}
