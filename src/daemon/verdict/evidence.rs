//! What was seen of one process, and what each signal makes of it.

use std::time::Duration;

use super::{CheckLimits, CheckState, CheckStates, CheckStatus, HTTP_FAILURES};

/// How one HTTP check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpCheckResult {
    /// With 2xx, in time.
    Answered,
    /// Otherwise, and how: "answers 503", "refuses connections", "does not answer within 5 s".
    Failed(String),
    /// It never left the daemon, and why.
    NotTried(String),
}

/// What a look at the status file has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusFileResult {
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
    heartbeat: Option<LastHeartbeat>,
    http: Option<CheckState>,
    http_failed: Option<Row>,
    status_file: Option<CheckState>,
    /// The last mark of the status file, and when it was first seen.
    mark: Option<(u64, Duration)>,
    resources: Option<CheckState>,
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
struct LastHeartbeat {
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
        self.heartbeat = Some(LastHeartbeat { at: now, degraded_since: degraded.then(|| before.unwrap_or(now)) });
    }

    /// The HTTP endpoint was asked at `begun`.
    pub fn asked(&mut self, now: Duration, begun: Duration, limits: &CheckLimits, probe: HttpCheckResult) {
        let signal = match probe {
            HttpCheckResult::Answered => {
                self.http_failed = None;
                CheckStatus::Ok
            }
            HttpCheckResult::NotTried(why) => CheckStatus::Unknown { why },
            HttpCheckResult::Failed(why) if self.in_grace(now) => {
                CheckStatus::Unknown { why: format!("{why}, but has just started") }
            }
            HttpCheckResult::Failed(why) => {
                let row = self.count_failure(begun, limits);
                if row.count >= HTTP_FAILURES {
                    CheckStatus::Bad { why, since: row.first }
                } else {
                    CheckStatus::Unknown { why: format!("{why}, {} of {HTTP_FAILURES} times in a row", row.count) }
                }
            }
        };
        self.http = Some(CheckState { signal, looked: Some(now) });
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
    pub fn looked(&mut self, now: Duration, limits: &CheckLimits, pid: u32, look: StatusFileResult) {
        let before = self.status_file.take().map(|reading| reading.signal);
        let signal = match look {
            StatusFileResult::NotRead(why) => CheckStatus::Unknown { why },
            StatusFileResult::Missing => CheckStatus::Bad { why: "not there".to_owned(), since: now },
            StatusFileResult::Damaged(why) => CheckStatus::Bad { why, since: now },
            StatusFileResult::Read(facts) => self.evaluate(now, limits, pid, facts),
        };
        let signal = match signal {
            CheckStatus::Bad { why, .. } if self.in_grace(now) => {
                CheckStatus::Unknown { why: format!("{why}, but the agent has just started") }
            }
            CheckStatus::Bad { why, since } => CheckStatus::Bad { since: earlier(before.as_ref(), since), why },
            CheckStatus::Warning { what, since } => {
                CheckStatus::Warning { since: earlier(before.as_ref(), since), what }
            }
            CheckStatus::Off | CheckStatus::Ok | CheckStatus::Unknown { .. } => signal,
        };
        self.status_file = Some(CheckState { signal, looked: Some(now) });
    }

    fn evaluate(&mut self, now: Duration, limits: &CheckLimits, pid: u32, facts: StatusFacts) -> CheckStatus {
        let first_seen = self.mark.filter(|(mark, _)| *mark == facts.mark).map_or(now, |(_, at)| at);
        self.mark = Some((facts.mark, first_seen));
        let age = facts.age.unwrap_or(now.saturating_sub(first_seen)).min(now.saturating_sub(self.began));
        let since = now.saturating_sub(age);
        if let Some(other) = facts.pid.filter(|writer| *writer != pid) {
            CheckStatus::Bad { why: format!("written by pid {other} instead of {pid}"), since: now }
        } else if limits.state_max_age.is_some_and(|max| age > max) || facts.valid_for.is_some_and(|valid| age > valid)
        {
            CheckStatus::Bad { why: "frozen".to_owned(), since }
        } else if let Some(what) = facts.degraded {
            CheckStatus::Warning { what: format!("says that the agent is degraded ({what})"), since: now }
        } else {
            CheckStatus::Ok
        }
    }

    /// CPU and memory were sampled, or could not be, and why.
    pub fn sampled(&mut self, now: Duration, limits: &CheckLimits, sample: Result<Usage, String>) {
        let signal = match sample {
            Err(why) => CheckStatus::Unknown { why },
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
                    CheckStatus::Bad { why, since }
                } else if let Some(since) = self.memory_over_since.filter(long) {
                    let why =
                        format!("{} of memory, more than {}", mebibytes(usage.memory_bytes), mebibytes(memory_max));
                    CheckStatus::Bad { why, since }
                } else {
                    CheckStatus::Ok
                }
            }
        };
        self.resources = Some(CheckState { signal, looked: Some(now) });
    }

    /// The five signals at this moment, of a process that is there.
    #[must_use]
    pub fn read(&self, now: Duration, limits: &CheckLimits) -> CheckStates {
        let process = CheckState { signal: CheckStatus::Ok, looked: Some(now) };
        let shown = |wanted: bool, reading: &Option<CheckState>| match reading {
            _ if !wanted => CheckState { signal: CheckStatus::Off, looked: None },
            None => CheckState { signal: CheckStatus::Unknown { why: "not looked at yet".to_owned() }, looked: None },
            Some(reading) => expire(now, limits, reading),
        };
        let limited = limits.cpu_percent.is_some() || limits.memory_bytes.is_some();
        CheckStates([
            process,
            self.read_heartbeat(now, limits),
            shown(limits.http, &self.http),
            shown(limits.state_max_age.is_some(), &self.status_file),
            shown(limited, &self.resources),
        ])
    }

    /// Judged at the moment of the question, since silence leaves nothing else to look at.
    fn read_heartbeat(&self, now: Duration, limits: &CheckLimits) -> CheckState {
        let Some(timeout) = limits.heartbeat_timeout else {
            return CheckState { signal: CheckStatus::Off, looked: None };
        };
        let since = self.heartbeat.map_or(self.grace_until, |heard| heard.at);
        let signal = match self.heartbeat {
            _ if now.saturating_sub(since) >= timeout => {
                let why = if self.heartbeat.is_some() { "none" } else { "none ever" };
                CheckStatus::Bad { why: why.to_owned(), since }
            }
            None => CheckStatus::Unknown { why: "none yet".to_owned() },
            Some(LastHeartbeat { degraded_since: Some(since), .. }) => {
                CheckStatus::Warning { what: "says that the agent is degraded".to_owned(), since }
            }
            Some(_) => CheckStatus::Ok,
        };
        CheckState { signal, looked: Some(now) }
    }
}

/// No look counts for ever: if the daemon has long not looked again, it does not know.
fn expire(now: Duration, limits: &CheckLimits, reading: &CheckState) -> CheckState {
    let longest = limits.interval * 3 + Duration::from_secs(10);
    match reading.looked.map(|at| now.saturating_sub(at)) {
        Some(age) if age > longest => {
            let why = format!("not looked at for {} s", age.as_secs());
            CheckState { signal: CheckStatus::Unknown { why }, looked: reading.looked }
        }
        _ => reading.clone(),
    }
}

/// What was bad already began then, not only now.
fn earlier(before: Option<&CheckStatus>, since: Duration) -> Duration {
    match before {
        Some(CheckStatus::Bad { since: first, .. } | CheckStatus::Warning { since: first, .. }) => since.min(*first),
        Some(CheckStatus::Off | CheckStatus::Ok | CheckStatus::Unknown { .. }) | None => since,
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}
