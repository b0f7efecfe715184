//! `http_error`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_error",
    sentence: "Each request is answered with an error status.",
    parameters: &[
        Parameter { name: "status", values: "300 to 599", default: "500" },
    ],
    timing: Timing::Lasts,
};

/// Each request is answered with an error status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpError {
    /// The status.
    pub status: Within<300, 599>,
}

impl Default for HttpError {
    fn default() -> Self {
        Self { status: Within::nearest(500) }
    }
}
