//! `slow_stop`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::values;

pub(super) const INFO: ActInfo = ActInfo {
    name: "slow_stop",
    sentence: "A stop that begins meanwhile takes this much longer.",
    parameters: &[Parameter { name: "takes", values: "a duration", default: "" }],
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

impl Behaviour for SlowStop {
    fn drain_delay(&self) -> Duration {
        self.takes
    }
}
