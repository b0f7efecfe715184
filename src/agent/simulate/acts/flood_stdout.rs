//! `flood_stdout`.

use std::io;

use serde::{Deserialize, Serialize};

use super::resource::{TICKS_PER_S, Ticks, run_in};
use super::{ActInfo, Begin, Behaviour, Parameter, Timing, Where};
use crate::agent::simulate::state::Held;
use crate::agent::simulate::values::Within;

/// How much is written at once, in bytes.
const CHUNK: usize = 32 * 1024;
/// The length of a line, in bytes.
const LINE: usize = 128;

pub(super) const INFO: ActInfo = ActInfo {
    name: "flood_stdout",
    sentence: "Text is written to standard output as fast as the rate allows.",
    parameters: &[
        Parameter { name: "line_ends", values: "`true`, `false`", default: "`true`" },
        Parameter { name: "mib_per_s", values: "1 to 1024", default: "10" },
    ],
    timing: Timing::Lasts,
};

/// Text is written to standard output as fast as the rate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FloodStdout {
    /// Whether it has line ends.
    pub line_ends: bool,
    /// MiB per second.
    pub mib_per_s: Within<1, 1024>,
}

impl Default for FloodStdout {
    fn default() -> Self {
        Self { line_ends: true, mib_per_s: Within::nearest(10) }
    }
}

impl Behaviour for FloodStdout {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        let act = *self;
        run_in(Where::Agent, begin, move |ticks| act.flood(ticks))
    }
}

impl FloodStdout {
    fn flood(&self, ticks: &Ticks) {
        let mut text = vec![b'x'; CHUNK];
        if self.line_ends {
            text.iter_mut().step_by(LINE).for_each(|byte| *byte = b'\n');
        }
        let chunks = (self.mib_per_s.get() << 20) / TICKS_PER_S / CHUNK as u64;
        while ticks.next() {
            for _ in 0..chunks.max(1) {
                // A reader that is gone or slow only slows the flood down.
                let _ = rustix::io::write(rustix::stdio::stdout(), &text);
            }
        }
    }
}
