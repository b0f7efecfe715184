//! `http_false_ok`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_false_ok",
    sentence: "The status of each answer is 200, also while the agent is Degraded. The body is the true one.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The status of each answer is 200, also while the agent is Degraded. The body is the true one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpFalseOk {}
