//! `heartbeat_late`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values;

pub(super) const INFO: ActInfo = ActInfo {
    name: "heartbeat_late",
    sentence: "Each heartbeat is sent late.",
    parameters: &[
        Parameter { name: "by", values: "a duration", default: "" },
    ],
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
