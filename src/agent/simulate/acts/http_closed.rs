//! `http_closed`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Behaviour, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_closed",
    sentence: "The listener and its connections are closed.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The listener and its connections are closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpClosed {}

impl Behaviour for HttpClosed {
    fn closes_listener(&self) -> bool {
        true
    }
}
