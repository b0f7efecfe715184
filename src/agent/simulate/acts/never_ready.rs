//! `never_ready`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Behaviour, Fate, Timing};
use crate::agent::event_loop::LoopEvent;
use statemachine::lifecycle::Part;

pub(super) const INFO: ActInfo = ActInfo {
    name: "never_ready",
    sentence: "The agent stays in Starting, without a time limit.",
    parameters: &[],
    timing: Timing::FromStart,
};

/// The agent stays in Starting, without a time limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeverReady {}

impl Behaviour for NeverReady {
    fn delays_start(&self) -> bool {
        true
    }

    fn fate(&self, event: &LoopEvent) -> Fate {
        if matches!(event, LoopEvent::Proved(Part::Api)) { Fate::Waits } else { Fate::Passes }
    }
}
