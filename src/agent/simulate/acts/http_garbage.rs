//! `http_garbage`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_garbage",
    sentence: "Each request is answered with bytes that are not HTTP.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Each request is answered with bytes that are not HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGarbage {}
