//! `heartbeat_malformed`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::raw::Raw;
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use ops_protocol::heartbeat::Heartbeat;
use ops_runtime::clock::within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_malformed",
    sentence: "Instead of each heartbeat, half of one is sent.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Instead of each heartbeat, half of one is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatMalformed {}

impl Behaviour for HeartbeatMalformed {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatMalformed {
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, heartbeat: Heartbeat, limit: Duration) -> Local<'a, ()> {
        Box::pin(async move {
            let work = async {
                let Some(mut raw) = Raw::connect(wire).await else { return };
                let mut body = raw.body(&heartbeat);
                body.truncate(body.len() / 2);
                body.push(b'\n');
                let head = raw.head(body.len() as u64);
                if raw.send(&head).await && raw.send(&body).await {
                    raw.answer().await;
                }
            };
            within(limit, work).await;
        })
    }
}
