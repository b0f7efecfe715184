//! `file_future`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};
use crate::agent::simulate::values;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_future",
    sentence: "The times in the status file are ahead of the clock.",
    parameters: &[
        Parameter { name: "by", values: "a duration", default: "`1h`" },
    ],
    timing: Timing::Lasts,
};

/// The times in the status file are ahead of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileFuture {
    /// How far ahead.
    #[serde(with = "values::duration")]
    pub by: Duration,
}

impl Default for FileFuture {
    fn default() -> Self {
        Self { by: Duration::from_secs(3600) }
    }
}
