//! `exit`.

use std::io;
use std::process;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Begin, Behaviour, Parameter, Timing};
use crate::agent::simulate::evidence::EvidenceEvent;
use crate::agent::simulate::state::Held;

pub(super) const INFO: ActInfo = ActInfo {
    name: "exit",
    sentence: "The process exits at once: it writes no status, sends no heartbeat and drains no request.",
    parameters: &[Parameter { name: "code", values: "0 to 255", default: "" }],
    timing: Timing::Once,
};

/// The process exits at once: it writes no status, sends no heartbeat and drains no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// The exit code.
    pub code: u8,
}

impl Behaviour for Exit {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        begin.simulation.note(EvidenceEvent::Exit { code: self.code });
        process::exit(self.code.into());
    }
}
