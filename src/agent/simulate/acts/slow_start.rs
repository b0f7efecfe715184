//! `slow_start`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Behaviour, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "slow_start",
    sentence: "The agent does not begin its set-up: there is no port and no status file.",
    parameters: &[],
    timing: Timing::FromStart,
};

/// The agent does not begin its set-up: there is no port and no status file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowStart {}

impl Behaviour for SlowStart {
    fn delays_setup(&self) -> bool {
        true
    }

    fn delays_start(&self) -> bool {
        true
    }
}
