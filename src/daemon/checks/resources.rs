//! The resource check: whether CPU, memory and open files of a process tree stay below their thresholds.
//!
//! sysinfo is not used, because it relates CPU time to the last refresh of any process, and does not distinguish a process from a
//! later one with the same pid.

use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use statemachine::supervision::Identity;

use super::{CheckLimits, CheckState, CheckStatus, Reason, Trouble};

/// What a process tree uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// CPU since the last sample, in percent of the machine.
    pub cpu_percent: f64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// Open files.
    pub open_files: OpenFiles,
}

/// How many files a process tree has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFiles {
    /// They are not limited, so they were not counted.
    NotCounted,
    /// The number of descriptors of all its processes.
    Counted(u64),
    /// The daemon may not count those of a process, and what the kernel says.
    Unreadable(Errno),
}

impl OpenFiles {
    /// Their number, if it is known.
    #[must_use]
    pub const fn number(self) -> Option<u64> {
        match self {
            Self::Counted(number) => Some(number),
            Self::NotCounted | Self::Unreadable(_) => None,
        }
    }
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
    /// Open files.
    pub open_files: OpenFiles,
    /// When they were read, by the monotonic clock.
    pub at: Duration,
}

/// Samples one tree.
#[derive(Debug, Clone)]
pub struct ResourceCheck {
    main: Identity,
    processors: f64,
    last: Option<Counters>,
    /// The result of the last two samples.
    cpu_percent: f64,
}

impl ResourceCheck {
    /// A check of the tree of this main process, and of no later one.
    #[must_use]
    pub fn new(main: Identity) -> Self {
        Self { main, processors: processors(), last: None, cpu_percent: 0.0 }
    }

    /// The main process of the tree that is sampled.
    #[must_use]
    pub const fn main(&self) -> Identity {
        self.main
    }

    /// CPU since the last sample, 0 at the first, and memory now.
    pub fn sample(&mut self, counters: Counters) -> Usage {
        if let Some(before) = self.last.replace(counters) {
            // A member that left the tree takes its time with it.
            let used = counters.cpu_ticks.saturating_sub(before.cpu_ticks) as f64 / clock_ticks_per_second() as f64;
            let passed = counters.at.saturating_sub(before.at).as_secs_f64();
            // A second sample of the same look adds nothing.
            if passed > 0.0 {
                self.cpu_percent = (100.0 * used / passed / self.processors).min(100.0);
            }
        }
        let Counters { memory_bytes, open_files, .. } = counters;
        Usage { cpu_percent: self.cpu_percent, memory_bytes, open_files }
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
    files_over_since: Option<Duration>,
    usage: Option<Usage>,
}

impl ResourceEvidence {
    pub(super) const fn state(&self) -> Option<&CheckState> {
        self.state.as_ref()
    }

    pub(super) const fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// A threshold that is exceeded is late, and bad after its duration.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let since = [self.cpu_over_since, self.memory_over_since, self.files_over_since].into_iter().flatten().min()?;
        Some(Trouble { since, is_bad: self.state.as_ref().is_some_and(|state| state.status.is_bad()) })
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
        let files_max = limits.open_files.unwrap_or(u64::MAX);
        let files = usage.open_files.number();
        self.files_over_since = over(files.is_some_and(|files| files > files_max), self.files_over_since);
        let long_enough = |since: &Duration| now.saturating_sub(*since) >= limits.threshold_duration;
        let bad = |detail, since| CheckStatus::Bad { reason: Reason::OverThreshold(detail), since };
        if let Some(since) = self.cpu_over_since.filter(long_enough) {
            bad(format!("{:.1} % CPU, more than {cpu_max} %", usage.cpu_percent), since)
        } else if let Some(since) = self.memory_over_since.filter(long_enough) {
            let (used, max) = (mebibytes(usage.memory_bytes), mebibytes(memory_max));
            bad(format!("{used} of memory, more than {max}"), since)
        } else if let Some(since) = self.files_over_since.filter(long_enough) {
            bad(format!("{} open files, more than {files_max}", files.unwrap_or_default()), since)
        } else {
            match usage.open_files {
                OpenFiles::Unreadable(errno) if limits.open_files.is_some() => not_counted(errno, in_grace),
                OpenFiles::NotCounted | OpenFiles::Counted(_) | OpenFiles::Unreadable(_) => CheckStatus::Ok,
            }
        }
    }
}

/// The status of a tree that keeps every threshold that the daemon can compare.
fn not_counted(errno: Errno, in_grace: bool) -> CheckStatus {
    let detail = format!("the daemon cannot count its open files: {}", std::io::Error::from(errno));
    if in_grace { CheckStatus::Unknown { detail } } else { CheckStatus::NotPossible { detail } }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use statemachine::supervision::BootId;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn cpu_is_the_time_used_by_the_time_passed_and_the_processors() {
        let boot: BootId = "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa".parse().expect("a boot ID");
        let mut check = ResourceCheck::new(Identity { pid: 1, start_ticks: 1, boot });
        check.processors = 4.0;
        let ticks = clock_ticks_per_second();
        let mut sample = |at, cpu_ticks| {
            check.sample(Counters { cpu_ticks, memory_bytes: 1, open_files: OpenFiles::NotCounted, at }).cpu_percent
        };
        assert_eq!(sample(SECOND, 7 * ticks), 0.0, "there is nothing to compare with");
        assert_eq!(sample(SECOND * 3, 11 * ticks), 50.0, "4 s of CPU in 2 s on 4 processors");
        assert_eq!(sample(SECOND * 3, 11 * ticks), 50.0, "no time has passed");
        assert_eq!(sample(SECOND * 4, 199 * ticks), 100.0, "not more than the machine has");
    }

    #[test]
    fn every_processor_of_the_machine_counts() {
        let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
        let online = (0..65_536).filter(|number| stat.contains(&format!("\ncpu{number} "))).count();
        assert_eq!(processors(), online as f64);
    }

    #[test]
    fn a_threshold_itself_is_allowed_and_the_figures_are_given() {
        let limits = CheckLimits {
            cpu_percent: Some(50.0),
            memory_bytes: Some(64 << 20),
            threshold_duration: SECOND,
            ..CheckLimits::default()
        };
        let mut evidence = ResourceEvidence::default();
        let mut judge = |now, cpu_percent, memory_bytes| {
            let usage = Usage { cpu_percent, memory_bytes, open_files: OpenFiles::NotCounted };
            evidence.record(SECOND * now, &limits, false, Ok(usage));
            assert_eq!(evidence.usage(), Some(usage));
            evidence.state().map(|state| state.status.clone())
        };
        for now in 1..4 {
            assert_eq!(judge(now, 50.0, 64 << 20), Some(CheckStatus::Ok), "at {now}");
        }
        assert_eq!(judge(4, 50.0, 65 << 20), Some(CheckStatus::Ok), "not for long enough");
        let reason = |text: &str| Reason::OverThreshold(text.to_owned());
        assert_eq!(
            judge(5, 50.0, 65 << 20),
            Some(CheckStatus::Bad { reason: reason("65 MiB of memory, more than 64 MiB"), since: SECOND * 4 })
        );
        assert_eq!(judge(6, 50.1, 1), Some(CheckStatus::Ok));
        assert_eq!(
            judge(7, 60.0, 1),
            Some(CheckStatus::Bad { reason: reason("60.0 % CPU, more than 50 %"), since: SECOND * 6 })
        );
    }

    #[test]
    fn open_files_are_limited_like_cpu_and_memory_and_unknown_where_they_cannot_be_counted() {
        let limits = CheckLimits { open_files: Some(100), threshold_duration: SECOND * 2, ..CheckLimits::default() };
        let mut evidence = ResourceEvidence::default();
        let mut judge = |now, cpu_percent, open_files| {
            evidence.record(SECOND * now, &limits, false, Ok(Usage { cpu_percent, memory_bytes: 1, open_files }));
            evidence.state().map(|state| state.status.clone())
        };
        let not_possible = |status: Option<CheckStatus>| matches!(status, Some(CheckStatus::NotPossible { detail }) if detail.contains("open files"));
        assert_eq!(judge(1, 1.0, OpenFiles::Counted(100)), Some(CheckStatus::Ok), "the threshold itself is allowed");
        assert_eq!(judge(2, 1.0, OpenFiles::Counted(101)), Some(CheckStatus::Ok), "not for long enough");
        let reason = Reason::OverThreshold("102 open files, more than 100".to_owned());
        let bad = CheckStatus::Bad { reason, since: SECOND * 2 };
        assert_eq!(judge(4, 1.0, OpenFiles::Counted(102)), Some(bad));
        assert!(not_possible(judge(5, 1.0, OpenFiles::Unreadable(Errno::ACCESS))));
        assert_eq!(judge(8, 1.0, OpenFiles::Counted(102)), Some(CheckStatus::Ok), "it may have been below meanwhile");
        assert!(not_possible(judge(9, 99.0, OpenFiles::Unreadable(Errno::ACCESS))), "CPU is not over for long enough");
        let busy = judge(11, 99.0, OpenFiles::Unreadable(Errno::ACCESS));
        assert!(busy.is_some_and(|status| status.is_bad()), "CPU is known all the same");
    }

    #[test]
    fn what_the_daemon_cannot_read_is_unknown_and_may_last_only_after_the_start() {
        let sampled = |in_grace, error| {
            let mut evidence = ResourceEvidence::default();
            evidence.record(SECOND, &CheckLimits::default(), in_grace, Err(error));
            evidence.state().map(|state| matches!(state.status, CheckStatus::NotPossible { .. }))
        };
        assert_eq!(sampled(false, SampleError::TimedOut), Some(true));
        assert_eq!(sampled(true, SampleError::TimedOut), Some(false));
        assert_eq!(sampled(false, SampleError::Gone), Some(false), "the end of the process decides");
        assert_eq!(sampled(true, SampleError::Gone), Some(false));
    }
}
