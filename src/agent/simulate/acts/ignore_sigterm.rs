//! `ignore_sigterm`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Behaviour, Fate, Timing};
use crate::agent::event_loop::LoopEvent;
use ops_runtime::signals::StopSignal;

pub(super) const INFO: ActInfo =
    ActInfo { name: "ignore_sigterm", sentence: "SIGTERM has no effect.", parameters: &[], timing: Timing::Lasts };

/// SIGTERM has no effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IgnoreSigterm {}

impl Behaviour for IgnoreSigterm {
    fn fate(&self, event: &LoopEvent) -> Fate {
        let is_sigterm = matches!(event, LoopEvent::StopRequested(by) if by == StopSignal::Terminate.as_str());
        if is_sigterm { Fate::IsDropped } else { Fate::Passes }
    }
}
