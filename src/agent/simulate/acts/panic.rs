//! `panic`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "panic",
    sentence: "The thread of the event loop panics, and the process exits with 101.",
    parameters: &[],
    timing: Timing::Once,
};

/// The thread of the event loop panics, and the process exits with 101.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panic {}
