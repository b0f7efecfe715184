//! What is to be thought of an agent, from its status file alone: one pure function, for `agent check`, `agent status` and
//! the daemon's file check.

use std::fmt;
use std::time::{Duration, SystemTime};

use statemachine::lifecycle::State;

use super::status_file::{Ended, ReadError, StatusFile};

/// How far a clock may lead ours before it counts as another clock.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// Whether a process with the number in the file lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// One does, and the kernel started it then, in clock ticks since boot.
    Alive {
        /// Clock ticks since boot.
        start: u64,
    },
    /// None does, or it is dead and only not yet reaped.
    Gone,
    /// There may be one, but the kernel does not let us see which.
    Unproven,
}

/// What the reader sees beside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderContext {
    /// Whether the process that the file names is there.
    pub writer: Liveness,
    /// The present boot of the host. `None`: the kernel does not say.
    pub boot_id: Option<String>,
    /// The pid that must have written the file, if the reader knows.
    pub expected: Option<u32>,
    /// The wall clock.
    pub wall: SystemTime,
    /// `CLOCK_BOOTTIME`.
    pub boottime: Duration,
    /// How old the file may be.
    pub max_age: Duration,
}

/// What is to be thought of the agent, and the same as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusVerdict {
    /// What was found.
    pub finding: StatusFinding,
    /// It in one line for people.
    pub message: String,
}

/// What was found: the first that is true, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFinding {
    /// There is no file.
    Missing,
    /// The file cannot be read.
    Unreadable,
    /// The file is not as the agent wrote it.
    Corrupt,
    /// The file is not by the process that the reader expects.
    Stranger,
    /// The agent has stopped.
    Stopped,
    /// The file is of another boot: whoever wrote it is no more.
    OtherBoot,
    /// Its process is gone, and it never said that it stopped.
    Dead,
    /// Its process is gone, and its number now belongs to another.
    Recycled,
    /// The file was written in the future: by a clock that is not ours.
    OtherClock,
    /// The file is older than the reader allows.
    Stale,
    /// The file is older than the agent itself promised.
    Expired,
    /// Alive, with faults.
    Degraded,
    /// Alive, but not at work: starting or stopping.
    NotReady,
    /// At work.
    Healthy,
}

/// How bad it is, in the words and numbers of Nagios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// 0.
    Ok,
    /// 1.
    Warning,
    /// 2.
    Critical,
    /// 3.
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
    /// How bad it is.
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

/// Judges: total, pure.
#[must_use]
pub fn judge(file: Result<&StatusFile, &ReadError>, sight: &ReaderContext) -> StatusVerdict {
    match file {
        Ok(file) => judge_file(file, sight),
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
            StatusVerdict { finding, message }
        }
    }
}

fn judge_file(file: &StatusFile, sight: &ReaderContext) -> StatusVerdict {
    let age = age(file, sight);
    let finding = find(file, sight, age);
    let (id, pid, state) = (&file.agent_id, file.pid, file.state);
    let old = Elapsed(age.unwrap_or_default());
    let message = match finding {
        StatusFinding::OtherBoot => {
            format!("{id} was {state:?} before the host booted last, or on another host; nothing was written since")
        }
        StatusFinding::Stranger => {
            let expected = sight.expected.unwrap_or_default();
            format!("{id}: the status file is by pid {pid}, and pid {expected} should have written it")
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
            format!("{id}: the status file is from the future, so its age is unknown: look at the clock of its writer")
        }
        StatusFinding::Stale => {
            let limit = Elapsed(sight.max_age);
            format!("{id} is stuck: {state:?}, but not refreshed for {old}, limit {limit}, pid {pid} {}", writer(sight))
        }
        StatusFinding::Expired => {
            let valid = Elapsed(valid_for(file));
            format!(
                "{id} is stuck: {state:?}, but not refreshed for {old}, valid for {valid}, pid {pid} {}",
                writer(sight)
            )
        }
        StatusFinding::Degraded => {
            let faults: Vec<String> =
                file.faults.iter().map(|fault| format!("{} ({})", fault.name.as_str(), fault.detail)).collect();
            format!("{id} Degraded: {}, refreshed {old} ago, pid {pid} {}", faults.join(", "), writer(sight))
        }
        StatusFinding::NotReady
        | StatusFinding::Healthy
        | StatusFinding::Missing
        | StatusFinding::Unreadable
        | StatusFinding::Corrupt => {
            format!("{id} {state:?}, refreshed {old} ago, pid {pid} {}", writer(sight))
        }
    };
    // A cause may hold anything, and this is one line.
    StatusVerdict { finding, message: message.replace(char::is_control, " ") }
}

fn find(file: &StatusFile, sight: &ReaderContext, age: Option<Duration>) -> StatusFinding {
    if sight.expected.is_some_and(|expected| expected != file.pid) {
        return StatusFinding::Stranger;
    }
    if file.state == State::Stopped {
        return StatusFinding::Stopped;
    }
    if same_boot(file, sight) == Some(false) {
        return StatusFinding::OtherBoot;
    }
    match sight.writer {
        Liveness::Gone => return StatusFinding::Dead,
        Liveness::Alive { start } if file.process_start != 0 && start != file.process_start => {
            return StatusFinding::Recycled;
        }
        Liveness::Alive { .. } | Liveness::Unproven => {}
    }
    match age {
        None => StatusFinding::OtherClock,
        Some(age) if age > sight.max_age => StatusFinding::Stale,
        Some(age) if age > valid_for(file) => StatusFinding::Expired,
        Some(_) => match file.state {
            State::Running => StatusFinding::Healthy,
            State::Degraded => StatusFinding::Degraded,
            State::Starting | State::Stopping | State::Stopped => StatusFinding::NotReady,
        },
    }
}

/// How old the file is: by the clock that never jumps if both sides read the same one, else by the wall clock. `None`: it
/// is from the future.
fn age(file: &StatusFile, sight: &ReaderContext) -> Option<Duration> {
    let written = Duration::from_nanos(file.updated_boottime_ns);
    let ahead = if same_boot(file, sight) == Some(true) {
        match sight.boottime.checked_sub(written) {
            Some(age) => return Some(age),
            None => written.saturating_sub(sight.boottime),
        }
    } else {
        match sight.wall.duration_since(file.updated_at.0) {
            Ok(age) => return Some(age),
            Err(error) => error.duration(),
        }
    };
    (ahead <= CLOCK_SLACK).then_some(Duration::ZERO)
}

/// `None`: one of them does not know its boot.
fn same_boot(file: &StatusFile, sight: &ReaderContext) -> Option<bool> {
    let now = sight.boot_id.as_deref().filter(|now| !now.is_empty() && !file.boot_id.is_empty())?;
    Some(now == file.boot_id)
}

/// How long the agent itself says that its file is to be believed. Both times are by the same clock at the same moment, so
/// the difference holds whatever that clock has done since.
fn valid_for(file: &StatusFile) -> Duration {
    file.valid_until.0.duration_since(file.updated_at.0).unwrap_or_default()
}

const fn writer(sight: &ReaderContext) -> &'static str {
    match sight.writer {
        Liveness::Alive { .. } => "alive",
        Liveness::Gone => "gone",
        Liveness::Unproven => "not visible from here",
    }
}

/// A time span for people: `3.1 s`, `5 min 2 s`, `3 h 10 min`, `12 d 4 h`.
#[derive(Debug, Clone, Copy)]
pub struct Elapsed(pub Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{:.1} s", self.0.as_millis().min(59_900) as f64 / 1000.0),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
            86_400.. => write!(f, "{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}
