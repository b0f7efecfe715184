//! `ignore_sigterm`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "ignore_sigterm",
    sentence: "SIGTERM has no effect.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// SIGTERM has no effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IgnoreSigterm {}
