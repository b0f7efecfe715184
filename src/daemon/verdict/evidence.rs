//! What was seen of one process, and what each signal makes of it.

use std::time::Duration;

use super::{CheckLimits, HTTP_FAILURES, Reading, Readings, Signal};

/// How one HTTP check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// With 2xx, in time.
    Answered,
    /// Otherwise, and how: "answers 503", "refuses connections", "does not answer within 5 s".
    Failed(String),
    /// It never left the daemon, and why.
    NotTried(String),
}

/// What a look at the status file has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusLook {
    /// A whole file.
    Read(StatusFacts),
    /// A file that its own checksum disproves, or none that can be understood, and how.
    Damaged(String),
    /// No file.
    Missing,
    /// The daemon could not look, and why.
    NotRead(String),
}

/// What a whole status file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFacts {
    /// Something that every write changes: the sequence, or the file's modification time.
    pub mark: u64,
    /// How long ago it was written, on a clock that does not jump. `None`: the file does not say; then it is as old as
    /// the time for which its mark has been the same.
    pub age: Option<Duration>,
    /// For how long after its writing it asks to be believed.
    pub valid_for: Option<Duration>,
    /// Who wrote it.
    pub pid: Option<u32>,
    /// What the agent itself says is wrong with it.
    pub degraded: Option<String>,
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Since the last sample, in percent of the machine.
    pub cpu_percent: f64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
}

/// What was seen of one process since it was started or adopted. Times are on the monotonic clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// When it began to be watched. What was before is not known: the host may have slept.
    began: Duration,
    /// Until then nothing is held against it.
    grace_until: Duration,
    heartbeat: Option<Heard>,
    http: Option<Reading>,
    http_failed: Option<Row>,
    status_file: Option<Reading>,
    /// The last mark of the status file, and when it was first seen.
    mark: Option<(u64, Duration)>,
    resources: Option<Reading>,
    cpu_over_since: Option<Duration>,
    memory_over_since: Option<Duration>,
    usage: Option<Usage>,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    count: u32,
    first: Duration,
    /// The last that was counted: an agent that is looked at more often, as at its start, does not fail faster.
    last: Duration,
}

/// The last heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    at: Duration,
    /// Since when it has said that the agent is degraded.
    degraded_since: Option<Duration>,
}

impl Evidence {
    /// None yet, of a process that was started or adopted now.
    #[must_use]
    pub fn new(now: Duration, limits: &CheckLimits) -> Self {
        Self {
            began: now,
            grace_until: now + limits.start_grace,
            heartbeat: None,
            http: None,
            http_failed: None,
            status_file: None,
            mark: None,
            resources: None,
            cpu_over_since: None,
            memory_over_since: None,
            usage: None,
        }
    }

    /// When the agent was last heard of.
    #[must_use]
    pub fn last_heartbeat(&self) -> Option<Duration> {
        self.heartbeat.map(|heard| heard.at)
    }

    /// What the process used when last sampled.
    #[must_use]
    pub const fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// From when on silence is bad, unless a heartbeat comes.
    #[must_use]
    pub fn silence_ends(&self, limits: &CheckLimits) -> Option<Duration> {
        Some(self.heartbeat.map_or(self.grace_until, |heard| heard.at) + limits.heartbeat_timeout?)
    }

    /// Whether nothing is held against the process yet.
    #[must_use]
    pub fn in_grace(&self, now: Duration) -> bool {
        now < self.grace_until
    }

    /// A heartbeat came.
    pub fn heard(&mut self, now: Duration, degraded: bool) {
        let before = self.heartbeat.and_then(|heard| heard.degraded_since);
        self.heartbeat = Some(Heard { at: now, degraded_since: degraded.then(|| before.unwrap_or(now)) });
    }

    /// The HTTP endpoint was asked at `begun`.
    pub fn asked(&mut self, now: Duration, begun: Duration, limits: &CheckLimits, probe: Probe) {
        let signal = match probe {
            Probe::Answered => {
                self.http_failed = None;
                Signal::Ok
            }
            Probe::NotTried(why) => Signal::Unknown { why },
            Probe::Failed(why) if self.in_grace(now) => Signal::Unknown { why: format!("{why}, but has just started") },
            Probe::Failed(why) => {
                let row = self.count_failure(begun, limits);
                if row.count >= HTTP_FAILURES {
                    Signal::Bad { why, since: row.first }
                } else {
                    Signal::Unknown { why: format!("{why}, {} of {HTTP_FAILURES} times in a row", row.count) }
                }
            }
        };
        self.http = Some(Reading { signal, looked: Some(now) });
    }

    fn count_failure(&mut self, begun: Duration, limits: &CheckLimits) -> Row {
        let row = match self.http_failed {
            None => Row { count: 1, first: begun, last: begun },
            Some(row) if begun.saturating_sub(row.last) < limits.interval => row,
            Some(row) => Row { count: row.count.saturating_add(1), last: begun, ..row },
        };
        *self.http_failed.insert(row)
    }

    /// The status file was looked at. `pid` is the agent's.
    pub fn looked(&mut self, now: Duration, limits: &CheckLimits, pid: u32, look: StatusLook) {
        let before = self.status_file.take().map(|reading| reading.signal);
        let signal = match look {
            StatusLook::NotRead(why) => Signal::Unknown { why },
            StatusLook::Missing => Signal::Bad { why: "not there".to_owned(), since: now },
            StatusLook::Damaged(why) => Signal::Bad { why, since: now },
            StatusLook::Read(facts) => self.weigh(now, limits, pid, facts),
        };
        let signal = match signal {
            Signal::Bad { why, .. } if self.in_grace(now) => {
                Signal::Unknown { why: format!("{why}, but the agent has just started") }
            }
            Signal::Bad { why, since } => Signal::Bad { since: earlier(before.as_ref(), since), why },
            Signal::Noted { what, since } => Signal::Noted { since: earlier(before.as_ref(), since), what },
            Signal::Off | Signal::Ok | Signal::Unknown { .. } => signal,
        };
        self.status_file = Some(Reading { signal, looked: Some(now) });
    }

    fn weigh(&mut self, now: Duration, limits: &CheckLimits, pid: u32, facts: StatusFacts) -> Signal {
        let first_seen = self.mark.filter(|(mark, _)| *mark == facts.mark).map_or(now, |(_, at)| at);
        self.mark = Some((facts.mark, first_seen));
        let age = facts.age.unwrap_or(now.saturating_sub(first_seen)).min(now.saturating_sub(self.began));
        let since = now.saturating_sub(age);
        if let Some(other) = facts.pid.filter(|writer| *writer != pid) {
            Signal::Bad { why: format!("written by pid {other} instead of {pid}"), since: now }
        } else if limits.state_max_age.is_some_and(|max| age > max) || facts.valid_for.is_some_and(|valid| age > valid)
        {
            Signal::Bad { why: "frozen".to_owned(), since }
        } else if let Some(what) = facts.degraded {
            Signal::Noted { what: format!("says that the agent is degraded ({what})"), since: now }
        } else {
            Signal::Ok
        }
    }

    /// CPU and memory were sampled, or could not be, and why.
    pub fn sampled(&mut self, now: Duration, limits: &CheckLimits, sample: Result<Usage, String>) {
        let signal = match sample {
            Err(why) => Signal::Unknown { why },
            Ok(usage) => {
                self.usage = Some(usage);
                let counts = !self.in_grace(now);
                let over = |is_over: bool, since: Option<Duration>| (is_over && counts).then(|| since.unwrap_or(now));
                let cpu_max = limits.cpu_percent.unwrap_or(f64::INFINITY);
                let memory_max = limits.memory_bytes.unwrap_or(u64::MAX);
                self.cpu_over_since = over(usage.cpu_percent > cpu_max, self.cpu_over_since);
                self.memory_over_since = over(usage.memory_bytes > memory_max, self.memory_over_since);
                let long = |since: &Duration| now.saturating_sub(*since) >= limits.threshold_duration;
                if let Some(since) = self.cpu_over_since.filter(long) {
                    let why = format!("{:.1} % CPU, more than {cpu_max} %", usage.cpu_percent);
                    Signal::Bad { why, since }
                } else if let Some(since) = self.memory_over_since.filter(long) {
                    let why =
                        format!("{} of memory, more than {}", mebibytes(usage.memory_bytes), mebibytes(memory_max));
                    Signal::Bad { why, since }
                } else {
                    Signal::Ok
                }
            }
        };
        self.resources = Some(Reading { signal, looked: Some(now) });
    }

    /// The five signals at this moment, of a process that is there.
    #[must_use]
    pub fn read(&self, now: Duration, limits: &CheckLimits) -> Readings {
        let process = Reading { signal: Signal::Ok, looked: Some(now) };
        let shown = |wanted: bool, reading: &Option<Reading>| match reading {
            _ if !wanted => Reading { signal: Signal::Off, looked: None },
            None => Reading { signal: Signal::Unknown { why: "not looked at yet".to_owned() }, looked: None },
            Some(reading) => expire(now, limits, reading),
        };
        let limited = limits.cpu_percent.is_some() || limits.memory_bytes.is_some();
        Readings([
            process,
            self.read_heartbeat(now, limits),
            shown(limits.http, &self.http),
            shown(limits.state_max_age.is_some(), &self.status_file),
            shown(limited, &self.resources),
        ])
    }

    /// Judged at the moment of the question, since silence leaves nothing else to look at.
    fn read_heartbeat(&self, now: Duration, limits: &CheckLimits) -> Reading {
        let Some(timeout) = limits.heartbeat_timeout else { return Reading { signal: Signal::Off, looked: None } };
        let since = self.heartbeat.map_or(self.grace_until, |heard| heard.at);
        let signal = match self.heartbeat {
            _ if now.saturating_sub(since) >= timeout => {
                let why = if self.heartbeat.is_some() { "none" } else { "none ever" };
                Signal::Bad { why: why.to_owned(), since }
            }
            None => Signal::Unknown { why: "none yet".to_owned() },
            Some(Heard { degraded_since: Some(since), .. }) => {
                Signal::Noted { what: "says that the agent is degraded".to_owned(), since }
            }
            Some(_) => Signal::Ok,
        };
        Reading { signal, looked: Some(now) }
    }
}

/// No look counts for ever: if the daemon has long not looked again, it does not know.
fn expire(now: Duration, limits: &CheckLimits, reading: &Reading) -> Reading {
    let longest = limits.interval * 3 + Duration::from_secs(10);
    match reading.looked.map(|at| now.saturating_sub(at)) {
        Some(age) if age > longest => {
            let why = format!("not looked at for {} s", age.as_secs());
            Reading { signal: Signal::Unknown { why }, looked: reading.looked }
        }
        _ => reading.clone(),
    }
}

/// What was bad already began then, not only now.
fn earlier(before: Option<&Signal>, since: Duration) -> Duration {
    match before {
        Some(Signal::Bad { since: first, .. } | Signal::Noted { since: first, .. }) => since.min(*first),
        Some(Signal::Off | Signal::Ok | Signal::Unknown { .. }) | None => since,
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}
