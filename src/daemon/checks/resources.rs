//! The resource check: whether CPU and memory of a process tree stay below their thresholds.
//!
//! sysinfo is not used, because it relates CPU time to the last refresh of any process, and does not distinguish a process from a
//! later one with the same pid.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use statemachine::supervision::Identity;

use super::{CheckLimits, CheckState, CheckStatus, Reason};
use ops_runtime::clock;

/// What a process tree uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// CPU since the last sample, in percent of the machine.
    pub cpu_percent: f64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
}

/// Why a process could not be sampled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// No process of the tree is left.
    #[error("the process is gone")]
    Gone,
    /// `/proc` cannot be read.
    #[error("the daemon cannot read /proc: {0}")]
    Unreadable(String),
    /// `/proc` did not answer in time.
    #[error("/proc has not answered in time")]
    TimedOut,
}

/// What a tree of processes has used so far, and what it holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// The CPU time of all its processes, in clock ticks.
    pub cpu_ticks: u64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
}

/// Samples one tree.
#[derive(Debug, Clone)]
pub struct ResourceCheck {
    main: Identity,
    processors: f64,
    /// The CPU time at the last sample, in clock ticks, and when that was.
    last: Option<(u64, Duration)>,
}

impl ResourceCheck {
    /// A check of the tree of this main process, and of no later one.
    #[must_use]
    pub fn new(main: Identity) -> Self {
        Self { main, processors: processors(), last: None }
    }

    /// The main process of the tree that is sampled.
    #[must_use]
    pub const fn main(&self) -> Identity {
        self.main
    }

    /// CPU since the last sample, 0 at the first, and memory now.
    pub fn sample(&mut self, counters: Counters) -> Usage {
        self.sample_at(clock::monotonic(), counters)
    }

    fn sample_at(&mut self, now: Duration, counters: Counters) -> Usage {
        let Counters { cpu_ticks, memory_bytes } = counters;
        let before = self.last.replace((cpu_ticks, now));
        let cpu_percent = before.map_or(0.0, |(ticks, at)| {
            // A member that left the tree takes its time with it.
            let used = cpu_ticks.saturating_sub(ticks) as f64 / clock_ticks_per_second() as f64;
            let passed = now.saturating_sub(at).as_secs_f64();
            // Two samples within one clock tick of the kernel cannot be compared.
            if passed > 0.0 { (100.0 * used / passed / self.processors).min(100.0) } else { 0.0 }
        });
        Usage { cpu_percent, memory_bytes }
    }
}

/// The number of online processors, including those that the daemon may not use.
fn processors() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let online = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    online.max(1) as f64
}

/// What the samples of one tree showed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ResourceEvidence {
    state: Option<CheckState>,
    cpu_over_since: Option<Duration>,
    memory_over_since: Option<Duration>,
    usage: Option<Usage>,
}

impl ResourceEvidence {
    pub(super) const fn state(&self) -> Option<&CheckState> {
        self.state.as_ref()
    }

    pub(super) const fn usage(&self) -> Option<Usage> {
        self.usage
    }

    pub(super) fn record(
        &mut self,
        now: Duration,
        limits: &CheckLimits,
        in_grace: bool,
        sample: Result<Usage, SampleError>,
    ) {
        let status = match sample {
            Err(error) if in_grace || error == SampleError::Gone => CheckStatus::Unknown { detail: error.to_string() },
            Err(error) => CheckStatus::NotPossible { detail: error.to_string() },
            Ok(usage) => self.judge(now, limits, in_grace, usage),
        };
        self.state = Some(CheckState::at(now, status));
    }

    fn judge(&mut self, now: Duration, limits: &CheckLimits, in_grace: bool, usage: Usage) -> CheckStatus {
        self.usage = Some(usage);
        let over = |is_over: bool, since: Option<Duration>| (is_over && !in_grace).then(|| since.unwrap_or(now));
        let cpu_max = limits.cpu_percent.unwrap_or(f64::INFINITY);
        let memory_max = limits.memory_bytes.unwrap_or(u64::MAX);
        self.cpu_over_since = over(usage.cpu_percent > cpu_max, self.cpu_over_since);
        self.memory_over_since = over(usage.memory_bytes > memory_max, self.memory_over_since);
        let long_enough = |since: &Duration| now.saturating_sub(*since) >= limits.threshold_duration;
        if let Some(since) = self.cpu_over_since.filter(long_enough) {
            let detail = format!("{:.1} % CPU, more than {cpu_max} %", usage.cpu_percent);
            CheckStatus::Bad { reason: Reason::OverThreshold(detail), since }
        } else if let Some(since) = self.memory_over_since.filter(long_enough) {
            let detail = format!("{} of memory, more than {}", mebibytes(usage.memory_bytes), mebibytes(memory_max));
            CheckStatus::Bad { reason: Reason::OverThreshold(detail), since }
        } else {
            CheckStatus::Ok
        }
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}
