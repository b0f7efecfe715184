//! `daemonize`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "daemonize",
    sentence: "The agent starts itself again in a session of its own, and exits with 0. The copy is the next life.",
    parameters: &[],
    timing: Timing::Once,
};

/// The agent starts itself again in a session of its own, and exits with 0. The copy is the next life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Daemonize {}
