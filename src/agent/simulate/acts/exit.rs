//! `exit`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "exit",
    sentence: "The process exits at once: it writes no status, sends no heartbeat and drains no request.",
    parameters: &[
        Parameter { name: "code", values: "0 to 255", default: "" },
    ],
    timing: Timing::Once,
};

/// The process exits at once: it writes no status, sends no heartbeat and drains no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// The exit code.
    pub code: u8,
}
