//! `panic`.

use std::io;

use serde::{Deserialize, Serialize};

use super::{ActInfo, Begin, Behaviour, MainThread, Timing};
use crate::agent::simulate::evidence::EvidenceEvent;
use crate::agent::simulate::state::Held;

/// The exit code of a process whose main thread has panicked.
const PANICKED: u8 = 101;

pub(super) const INFO: ActInfo = ActInfo {
    name: "panic",
    sentence: "The thread of the event loop panics, and the process exits with 101.",
    parameters: &[],
    timing: Timing::Once,
};

/// The thread of the event loop panics, and the process exits with 101.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panic {}

impl Behaviour for Panic {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        begin.simulation.note(EvidenceEvent::Exit { code: PANICKED });
        Ok(None)
    }

    fn main_thread(&self) -> MainThread {
        MainThread::Panics
    }
}
