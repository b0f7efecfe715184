//! `slow_stop`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values;

pub(super) const INFO: ActInfo = ActInfo {
    name: "slow_stop",
    sentence: "A stop that begins meanwhile takes this much longer.",
    parameters: &[
        Parameter { name: "takes", values: "a duration", default: "" },
    ],
    timing: Timing::Lasts,
};

/// A stop that begins meanwhile takes this much longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowStop {
    /// How much longer.
    #[serde(with = "values::duration")]
    pub takes: Duration,
}
