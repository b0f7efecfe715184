//! `heartbeat_clock`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::{HeartbeatAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::HeartbeatAccess;
use crate::agent::simulate::values;
use ops_protocol::Timestamp;
use ops_protocol::heartbeat::Heartbeat;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_clock",
    sentence: "The times in heartbeats are off.",
    parameters: &[
        Parameter { name: "by", values: "a duration", default: "`1h`" },
        Parameter { name: "direction", values: "`ahead`, `behind`", default: "`ahead`" },
    ],
    timing: Timing::Lasts,
};

/// The times in heartbeats are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatClock {
    /// How far off.
    #[serde(with = "values::duration")]
    pub by: Duration,
    /// In which direction.
    pub direction: Direction,
}

impl Default for HeartbeatClock {
    fn default() -> Self {
        Self { by: Duration::from_secs(3600), direction: Direction::default() }
    }
}

/// The direction of a wrong clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// In the future.
    #[default]
    Ahead,
    /// In the past.
    Behind,
}

impl Behaviour for HeartbeatClock {
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        Some(self)
    }
}

impl HeartbeatAct for HeartbeatClock {
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, mut heartbeat: Heartbeat, limit: Duration) -> Local<'a, ()> {
        let Timestamp(now) = heartbeat.timestamp;
        heartbeat.timestamp = Timestamp(match self.direction {
            Direction::Ahead => now + self.by,
            Direction::Behind => now - self.by,
        });
        Box::pin(wire.send(heartbeat, limit))
    }
}
