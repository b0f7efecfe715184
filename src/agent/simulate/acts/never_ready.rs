//! `never_ready`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "never_ready",
    sentence: "The agent stays in Starting, without a time limit.",
    parameters: &[],
    timing: Timing::FromStart,
};

/// The agent stays in Starting, without a time limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeverReady {}
