//! `burn_cpu`.

use std::ffi::OsString;
use std::hint::black_box;
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};

use super::resource::{Ticks, in_child, run_in};
use super::{ActInfo, Begin, Behaviour, Parameter, Timing, Where};
use crate::agent::simulate::plan::Step;
use crate::agent::simulate::state::Held;
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "burn_cpu",
    sentence: "Threads run without a pause.",
    parameters: &[
        Parameter { name: "threads", values: "1 to 64", default: "1" },
        Parameter { name: "in", values: "`self`, `child`", default: "`self`" },
    ],
    timing: Timing::Lasts,
};

/// Threads run without a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BurnCpu {
    /// The number of threads.
    pub threads: Within<1, 64>,
    /// Where.
    #[serde(rename = "in")]
    pub place: Where,
}

impl Default for BurnCpu {
    fn default() -> Self {
        Self { threads: Within::nearest(1), place: Where::default() }
    }
}

impl Behaviour for BurnCpu {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        let act = *self;
        run_in(self.place, begin, move |ticks| act.burn(ticks))
    }

    fn child(&self, _: &Step, _: &[OsString]) -> ExitCode {
        in_child(|ticks| self.burn(ticks))
    }
}

impl BurnCpu {
    fn burn(&self, ticks: &Ticks) {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..self.threads.get() {
                scope.spawn(|| {
                    let mut number: u64 = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        number = black_box(number.wrapping_add(1));
                    }
                });
            }
            ticks.end();
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
