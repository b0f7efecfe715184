//! `degrade`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "degrade",
    sentence: "The agent raises a fault, and is Degraded.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The agent raises a fault, and is Degraded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Degrade {}
