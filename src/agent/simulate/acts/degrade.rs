//! `degrade`.

use std::io;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Begin, Behaviour, Timing};
use crate::agent::event_loop::LoopEvent;
use crate::agent::simulate::state::{Held, Simulation};
use statemachine::lifecycle::FaultName;

pub(super) const INFO: ActInfo = ActInfo {
    name: "degrade",
    sentence: "The agent raises a fault, and is Degraded.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The agent raises a fault, and is Degraded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Degrade {}

impl Behaviour for Degrade {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        Ok(Some(Box::new(Fault::raise(begin.simulation)?)))
    }
}

/// A fault of the agent. Dropping it clears it.
pub(super) struct Fault(Simulation);

impl Fault {
    pub(super) fn raise(simulation: &Simulation) -> io::Result<Self> {
        if simulation.send(LoopEvent::Raised(FaultName::Http, "simulated".to_owned())) {
            Ok(Self(simulation.clone()))
        } else {
            Err(io::Error::other("the event loop does not run yet: add `from: ready`"))
        }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.0.send(LoopEvent::Cleared(FaultName::Http));
    }
}
