//! `heartbeat_clock`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values;

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
