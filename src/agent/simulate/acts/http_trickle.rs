//! `http_trickle`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_trickle",
    sentence: "The true answer is sent at one byte per second.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The true answer is sent at one byte per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTrickle {}
