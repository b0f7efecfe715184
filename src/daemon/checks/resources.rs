//! What a process uses, straight from `/proc/PID/stat`.
//!
//! Not by sysinfo: that relates a process's time to what passed since the *last refresh of anything*, so with agents that
//! are looked at at different times it needs one `System` for each, and it would not tell a process from a later one with
//! the same number. Here one read of one small file gives time, memory and proof, for 1,000 agents as for one.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use statemachine::supervision::Identity;

use crate::daemon::verdict::Usage;
use ops_runtime::clock;
use ops_runtime::observe::Stat;

/// Samples one process.
#[derive(Debug, Clone)]
pub struct ResourceCheck {
    process: Identity,
    processors: f64,
    /// The CPU time at the last sample, in clock ticks, and when that was.
    last: Option<(u64, Duration)>,
}

impl ResourceCheck {
    /// Of this process, and no later one with its number.
    #[must_use]
    pub fn new(process: Identity) -> Self {
        Self { process, processors: processors(), last: None }
    }

    /// Which process is sampled.
    #[must_use]
    pub const fn process(&self) -> Identity {
        self.process
    }

    /// CPU since the last sample, 0 at the first; and memory now. Does not block.
    ///
    /// # Errors
    ///
    /// Why it could not be sampled, as a clause.
    pub fn sample(&mut self) -> Result<Usage, String> {
        let stat = match Stat::of(self.process.pid) {
            Ok(stat) if stat.start == self.process.start_ticks && !stat.zombie => stat,
            Ok(_) => return Err("the process is gone".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err("the process is gone".to_owned()),
            Err(error) => return Err(format!("the daemon cannot look: {error}")),
        };
        let now = clock::monotonic();
        let before = self.last.replace((stat.cpu_ticks, now));
        let cpu_percent = before.map_or(0.0, |(ticks, at)| {
            let used = stat.cpu_ticks.saturating_sub(ticks) as f64 / clock_ticks_per_second() as f64;
            let passed = now.saturating_sub(at).as_secs_f64();
            // Two samples within one tick of the kernel's clock say nothing yet.
            if passed > 0.0 { (100.0 * used / passed / self.processors).min(100.0) } else { 0.0 }
        });
        Ok(Usage { cpu_percent, memory_bytes: stat.resident_pages.saturating_mul(page_size() as u64) })
    }
}

/// How many processors the machine has: all that are online, also those that the daemon itself may not use.
fn processors() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let online = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    online.max(1) as f64
}
