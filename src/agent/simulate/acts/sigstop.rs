//! `sigstop`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "sigstop",
    sentence: "The process stops itself with SIGSTOP. With `for`, a child continues it after that time.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The process stops itself with SIGSTOP. With `for`, a child continues it after that time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sigstop {}
