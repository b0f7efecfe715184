//! Judges an agent by its status file alone. `agent check`, `agent status` and the daemon's file check share this
//! pure function.

use std::fmt;
use std::time::{Duration, SystemTime};

use statemachine::lifecycle::State;

use crate::elapsed::Elapsed;
use crate::printable::on_one_line;
use crate::status_file::{Ended, ReadError, StatusFile};

/// By how much another process's clock may lead before its time stamps count as another clock's.
pub const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// Whether the process that the status file names is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// A process with this pid is alive.
    Alive {
        /// When the kernel started it, in clock ticks since boot.
        start: u64,
    },
    /// No process has this pid, or only a zombie that is not reaped yet.
    Gone,
    /// The kernel does not show whether the process exists.
    Unproven,
}

/// The facts that the reader has besides the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderContext {
    /// Whether the process that the file names is alive.
    pub writer: Liveness,
    /// The inode of the reader's PID namespace. 0: the kernel does not show it.
    pub pid_namespace: u64,
    /// The current boot of the host. `None`: the kernel gives no ID.
    pub boot_id: Option<String>,
    /// The pid that must have written the file, if the reader knows it.
    pub expected: Option<u32>,
    /// The wall clock.
    pub wall: SystemTime,
    /// `CLOCK_BOOTTIME`.
    pub boottime: Duration,
    /// The maximum age of the file.
    pub max_age: Duration,
    /// Whether the file's own limit does not apply.
    pub ignores_own_limit: bool,
}

/// The judgement on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusVerdict {
    /// The finding.
    pub finding: StatusFinding,
    /// The finding in one line, for people.
    pub message: String,
    /// The age of the file, if it is known.
    pub age: Option<Duration>,
}

/// The possible findings. The first one that applies, in this order, is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFinding {
    /// There is no file.
    Missing,
    /// The file cannot be read.
    Unreadable,
    /// The content of the file is not valid.
    Corrupt,
    /// Another process than the expected one wrote the file.
    Stranger,
    /// The agent has stopped.
    Stopped,
    /// The file was written in an earlier boot, so its process is gone.
    OtherBoot,
    /// The process is gone, and the state in the file is not `Stopped`.
    Dead,
    /// The process is gone, and another process has its pid.
    Recycled,
    /// The time stamp of the file is in the future, so another clock made it.
    OtherClock,
    /// The file is older than the reader allows.
    Stale,
    /// The file is older than the agent promised.
    Expired,
    /// The agent is alive and has faults.
    Degraded,
    /// The agent is alive, and is starting or stopping.
    NotReady,
    /// The agent is running without faults.
    Healthy,
}

/// The severity, with the names and exit codes of Nagios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Exit code 0.
    Ok,
    /// Exit code 1.
    Warning,
    /// Exit code 2.
    Critical,
    /// Exit code 3.
    Unknown,
}

impl Level {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

impl StatusFinding {
    /// The severity.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Healthy => Level::Ok,
            Self::Degraded | Self::NotReady => Level::Warning,
            Self::OtherBoot | Self::Stranger | Self::Stopped | Self::Dead => Level::Critical,
            Self::Recycled | Self::Stale | Self::Expired => Level::Critical,
            Self::OtherClock | Self::Missing | Self::Unreadable | Self::Corrupt => Level::Unknown,
        }
    }
}

impl fmt::Display for StatusVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.finding.level(), self.message)
    }
}

/// Judges an agent. Total and pure.
#[must_use]
pub fn judge(file: Result<&StatusFile, &ReadError>, reader: &ReaderContext) -> StatusVerdict {
    match file {
        Ok(file) => judge_file(file, reader),
        Err(error) => {
            let finding = match error {
                ReadError::Missing => StatusFinding::Missing,
                ReadError::NotAFile | ReadError::Unreadable(_) => StatusFinding::Unreadable,
                ReadError::Corrupt(_) => StatusFinding::Corrupt,
            };
            let message = match std::error::Error::source(error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            StatusVerdict { finding, message, age: None }
        }
    }
}

fn judge_file(file: &StatusFile, reader: &ReaderContext) -> StatusVerdict {
    let age = age(file, reader);
    let finding = find(file, reader, age);
    let process = writer(file, reader, age);
    let (id, pid, state) = (&file.agent_id, file.pid, file.state);
    let old = Elapsed(age.unwrap_or_default());
    let message = match finding {
        StatusFinding::OtherBoot => {
            format!(
                "{id} was {state:?} before the last boot of this host, or on another host, and has not written since"
            )
        }
        StatusFinding::Stranger => {
            let expected = reader.expected.unwrap_or_default();
            format!("{id}: pid {pid} wrote the status file, and pid {expected} should have")
        }
        StatusFinding::Stopped => match file.ended() {
            Ended::Failed => format!("{id} Stopped {old} ago, its start failed: {}", file.cause),
            ended @ (Ended::Clean | Ended::Forced | Ended::Unclean) => {
                format!("{id} Stopped {old} ago, {}: {}", ended.as_str(), file.cause)
            }
        },
        StatusFinding::Dead => format!("{id} is dead: pid {pid} is gone, last seen {state:?} {old} ago"),
        StatusFinding::Recycled => {
            format!("{id} is dead: pid {pid} now belongs to another process, last seen {state:?} {old} ago")
        }
        StatusFinding::OtherClock => {
            format!(
                "{id}: the status file is from the future, so its age is unknown: check the clock of the agent's host"
            )
        }
        StatusFinding::Stale => {
            let limit = Elapsed(reader.max_age);
            format!("{id} is stuck: {state:?}, but not refreshed for {old} (limit {limit}), pid {pid} {}", process)
        }
        StatusFinding::Expired => {
            let valid = Elapsed(valid_for(file));
            format!("{id} is stuck: {state:?}, but not refreshed for {old} (valid for {valid}), pid {pid} {}", process)
        }
        StatusFinding::Degraded => {
            let faults: Vec<String> =
                file.faults.iter().map(|fault| format!("{} ({})", fault.name.as_str(), fault.detail)).collect();
            format!("{id} Degraded: {}, refreshed {old} ago, pid {pid} {}", faults.join(", "), process)
        }
        StatusFinding::NotReady
        | StatusFinding::Healthy
        | StatusFinding::Missing
        | StatusFinding::Unreadable
        | StatusFinding::Corrupt => {
            format!("{id} {state:?}, refreshed {old} ago, pid {pid} {}", process)
        }
    };
    // The message is one line, and a cause may contain any character.
    StatusVerdict { finding, message: on_one_line(&message), age }
}

fn find(file: &StatusFile, reader: &ReaderContext, age: Option<Duration>) -> StatusFinding {
    let is_here = same_namespace(file, reader) != Some(false);
    if is_here && reader.expected.is_some_and(|expected| expected != file.pid) {
        return StatusFinding::Stranger;
    }
    if file.state == State::Stopped {
        return StatusFinding::Stopped;
    }
    if same_boot(file, reader) == Some(false) {
        return StatusFinding::OtherBoot;
    }
    match liveness(file, reader, age) {
        Liveness::Gone => return StatusFinding::Dead,
        Liveness::Alive { start } if is_another(file, start) => {
            return StatusFinding::Recycled;
        }
        Liveness::Alive { .. } | Liveness::Unproven => {}
    }
    match age {
        None => StatusFinding::OtherClock,
        Some(age) if age > reader.max_age => StatusFinding::Stale,
        Some(age) if age > valid_for(file) && !reader.ignores_own_limit => StatusFinding::Expired,
        Some(_) => match file.state {
            State::Running => StatusFinding::Healthy,
            State::Degraded => StatusFinding::Degraded,
            State::Starting | State::Stopping | State::Stopped => StatusFinding::NotReady,
        },
    }
}

/// What the pid proves about the writer. In another PID namespace the pid belongs to another process, or to none.
fn liveness(file: &StatusFile, reader: &ReaderContext, age: Option<Duration>) -> Liveness {
    let is_fresh = age.is_some_and(|age| age <= valid_for(file));
    match (same_namespace(file, reader), reader.writer) {
        (Some(false), _) => Liveness::Unproven,
        // A process in a container may have written it.
        (None, Liveness::Alive { start }) if is_fresh && is_another(file, start) => Liveness::Unproven,
        (Some(true) | None, seen) => seen,
    }
}

/// Whether the process that has the pid now, and that started then, is not the writer.
const fn is_another(file: &StatusFile, start: u64) -> bool {
    file.process_start != 0 && start != file.process_start
}

/// Whether the file was written in the reader's PID namespace. `None`: one of the two namespaces is unknown.
const fn same_namespace(file: &StatusFile, reader: &ReaderContext) -> Option<bool> {
    match (file.pid_namespace, reader.pid_namespace) {
        (0, _) | (_, 0) => None,
        (there, here) => Some(there == here),
    }
}

/// The age of the file. If writer and reader share a boot, `CLOCK_BOOTTIME` gives it, because that clock never jumps.
/// Otherwise the wall clock does. `None`: the file is from the future.
fn age(file: &StatusFile, reader: &ReaderContext) -> Option<Duration> {
    let written = Duration::from_nanos(file.updated_boottime_ns);
    let ahead = if same_boot(file, reader) == Some(true) {
        match reader.boottime.checked_sub(written) {
            Some(age) => return Some(age),
            None => written.saturating_sub(reader.boottime),
        }
    } else {
        match reader.wall.duration_since(file.updated_at.0) {
            Ok(age) => return Some(age),
            Err(error) => error.duration(),
        }
    };
    (ahead <= CLOCK_SLACK).then_some(Duration::ZERO)
}

/// Whether the file was written in the current boot. `None`: one of the two boots is unknown.
fn same_boot(file: &StatusFile, reader: &ReaderContext) -> Option<bool> {
    let now = reader.boot_id.as_deref().filter(|now| !now.is_empty() && !file.boot_id.is_empty())?;
    Some(now == file.boot_id)
}

/// How long the file is valid by the agent's own statement. Both times come from one reading of one clock, so later
/// jumps of that clock do not change the difference.
fn valid_for(file: &StatusFile) -> Duration {
    file.valid_until.0.duration_since(file.updated_at.0).unwrap_or_default()
}

fn writer(file: &StatusFile, reader: &ReaderContext, age: Option<Duration>) -> &'static str {
    if same_namespace(file, reader) == Some(false) {
        return "in another PID namespace";
    }
    match liveness(file, reader, age) {
        Liveness::Alive { .. } => "alive",
        Liveness::Gone => "gone",
        Liveness::Unproven => "not visible from here",
    }
}
