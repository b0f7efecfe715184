//! `http_stalled`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_stalled",
    sentence: "Each request is answered with 200 and the begin of a body that never ends.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Each request is answered with 200 and the begin of a body that never ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpStalled {}
