//! `http_slow`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values;

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_slow",
    sentence: "Each answer comes late.",
    parameters: &[
        Parameter { name: "after", values: "a duration", default: "" },
    ],
    timing: Timing::Lasts,
};

/// Each answer comes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSlow {
    /// How late.
    #[serde(with = "values::duration")]
    pub after: Duration,
}
