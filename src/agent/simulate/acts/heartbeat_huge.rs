//! `heartbeat_huge`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::raw::send_beside;
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use crate::agent::simulate::values::Within;
use ops_protocol::heartbeat::Heartbeat;

/// How much is written at once, in bytes.
const CHUNK: usize = 64 * 1024;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_huge",
    sentence: "Instead of heartbeats, one message without an end is sent.",
    parameters: &[Parameter { name: "mib", values: "1 to 4096", default: "1024" }],
    timing: Timing::Lasts,
};

/// Instead of heartbeats, one message without an end is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatHuge {
    /// Its size in MiB.
    pub mib: Within<1, 4096>,
}

impl Default for HeartbeatHuge {
    fn default() -> Self {
        Self { mib: Within::nearest(1024) }
    }
}

impl Behaviour for HeartbeatHuge {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatHuge {
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, _: Heartbeat, _: Duration) -> Local<'a, ()> {
        let size = self.mib.get() << 20;
        send_beside(wire, (*self).into(), async move |mut raw| {
            let head = raw.head(size);
            let mut is_open = raw.send(&head).await && raw.send(b"{\"agent_id\":\"").await;
            let chunk = [b'x'; CHUNK];
            for _ in 0..size / CHUNK as u64 {
                is_open = is_open && raw.send(&chunk).await;
            }
            if is_open {
                raw.answer().await;
            }
        });
        Box::pin(async {})
    }
}
