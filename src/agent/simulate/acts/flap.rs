//! `flap`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values;

pub(super) const INFO: ActInfo = ActInfo {
    name: "flap",
    sentence: "The agent changes between Running and Degraded.",
    parameters: &[
        Parameter { name: "every", values: "a duration", default: "`2s`" },
    ],
    timing: Timing::Lasts,
};

/// The agent changes between Running and Degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flap {
    /// How long it stays in each.
    #[serde(with = "values::duration")]
    pub every: Duration,
}

impl Default for Flap {
    fn default() -> Self {
        Self { every: Duration::from_secs(2) }
    }
}
