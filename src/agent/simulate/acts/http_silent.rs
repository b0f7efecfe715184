//! `http_silent`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_silent",
    sentence: "Connections are accepted, and no request is answered.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Connections are accepted, and no request is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSilent {}
