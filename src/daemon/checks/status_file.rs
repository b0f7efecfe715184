//! The status file check: whether the file is fresh, whole and the agent's own. Another program may touch any file instead.
//!
//! A file that does not begin as a status file is another program's: only its modification time counts. So a status file of
//! which nothing is left shows by its age.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use statemachine::lifecycle::State;

use super::{CHECK_TIMEOUT, CheckState, CheckStatus, Reason, Trouble};
use ops_protocol::status_file::{DecodeError, ReadError, StatusFile};
use ops_protocol::verdict::CLOCK_SLACK;
use ops_runtime::blocking;
use ops_runtime::clock::{self, within};
use ops_runtime::observe::{boot_id, pid_namespace, read_status};

/// The result of one look at a status file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusFileResult {
    /// A whole file.
    Read(StatusFacts),
    /// A file that contradicts its checksum or cannot be understood, and how.
    Damaged(String),
    /// No file.
    Missing,
    /// The daemon could not read it, and why.
    NotRead(String),
}

/// The facts in a whole status file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFacts {
    /// A value that every write changes: the sequence, or the file's modification time.
    pub mark: u64,
    /// The age, on a clock that does not jump. `None`: the file has no time stamp, and is as old as its mark.
    pub age: Option<Duration>,
    /// How far its time stamp is in the future. It then has no age.
    pub ahead: Option<Duration>,
    /// The time after its writing for which it is valid.
    pub valid_for: Option<Duration>,
    /// The pid of the writer. `None`: it has none, or one in another PID namespace.
    pub pid: Option<u32>,
    /// The faults, if the agent is degraded.
    pub degraded: Option<String>,
}

/// Reads one status file.
#[derive(Debug)]
pub struct StatusFileCheck {
    path: Arc<Path>,
    /// Held while a read is in progress. On a disk that hangs, that may be forever.
    busy: Arc<()>,
}

impl StatusFileCheck {
    /// A check of the file at this absolute path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path: path.into(), busy: Arc::new(()) }
    }

    /// Reads it once.
    pub async fn check(&self) -> StatusFileResult {
        // A read cannot be interrupted and holds a thread. One thread for each agent is the limit.
        if Arc::strong_count(&self.busy) > 1 {
            return StatusFileResult::NotRead("an earlier read still hangs: check the disk".to_owned());
        }
        let (path, busy) = (Arc::clone(&self.path), Arc::clone(&self.busy));
        let look = blocking::unblock(move || {
            let look = look(&path);
            drop(busy);
            look
        });
        match within(CHECK_TIMEOUT, look).await {
            Some(look) => look.unwrap_or_else(|error| unreadable(&error)),
            None => StatusFileResult::NotRead(format!("it was not read within {} s", CHECK_TIMEOUT.as_secs())),
        }
    }
}

fn look(path: &Path) -> StatusFileResult {
    match read_status(path) {
        Ok(file) => facts(&file, boot_id().ok().as_deref(), clock::boottime()),
        Err(ReadError::Missing) => StatusFileResult::Missing,
        Err(ReadError::NotAFile) => StatusFileResult::Damaged("is not a regular file".to_owned()),
        Err(ReadError::Corrupt(error)) => match error {
            DecodeError::Nuls | DecodeError::Torn | DecodeError::Edited | DecodeError::Malformed(_) => {
                StatusFileResult::Damaged(format!("is damaged: {error}"))
            }
            // Another program's file, or a newer agent's, which proves life without being understood.
            DecodeError::Empty
            | DecodeError::NotAStatusFile
            | DecodeError::TooLong(_)
            | DecodeError::NewerSchema(_) => look_at_time(path),
        },
        Err(ReadError::Unreadable(error)) => unreadable(&error),
    }
}

/// What keeps the daemon from reading the file need not keep the agent from writing it.
fn unreadable(error: &io::Error) -> StatusFileResult {
    StatusFileResult::NotRead(format!("the daemon cannot read it: {error}"))
}

fn facts(file: &StatusFile, boot: Option<&str>, now: Duration) -> StatusFileResult {
    let (age, ahead) = age(&file.boot_id, Duration::from_nanos(file.updated_boottime_ns), boot, now);
    StatusFileResult::Read(StatusFacts { age, ahead, ..bare(file) })
}

/// The age of a file that was written at `written` of the boot `its_boot`, or how far that is in the future. `now` is the time
/// since this boot.
fn age(its_boot: &str, written: Duration, boot: Option<&str>, now: Duration) -> (Option<Duration>, Option<Duration>) {
    let ahead = written.saturating_sub(now);
    match boot {
        Some(boot) if boot == its_boot && ahead > CLOCK_SLACK => (None, Some(ahead)),
        Some(boot) if boot == its_boot => (Some(now.saturating_sub(written)), None),
        // Written before this boot, so at least as old as the boot.
        Some(_) if !its_boot.is_empty() => (Some(now), None),
        Some(_) | None => (None, None),
    }
}

fn bare(file: &StatusFile) -> StatusFacts {
    let faults = file.faults.iter().map(|fault| format!("{}: {}", fault.name.as_str(), fault.detail));
    let is_here = [0, pid_namespace()].contains(&file.pid_namespace);
    StatusFacts {
        mark: file.sequence,
        age: None,
        ahead: None,
        valid_for: file.valid_until.0.duration_since(file.updated_at.0).ok(),
        pid: is_here.then_some(file.pid),
        degraded: (file.state == State::Degraded).then(|| faults.collect::<Vec<_>>().join(", ")),
    }
}

/// The wall clock may jump, so only a change of the modification time counts, not its value.
fn look_at_time(path: &Path) -> StatusFileResult {
    let modified = match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(modified) => modified,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return StatusFileResult::Missing;
        }
        Err(error) => return unreadable(&error),
    };
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_else(|error| error.duration());
    let mark = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    StatusFileResult::Read(StatusFacts { mark, age: None, ahead: None, valid_for: None, pid: None, degraded: None })
}

/// What the status file of one process showed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StatusFileEvidence {
    /// When the process began to be watched. What was before is not known: the host may have slept.
    began: Duration,
    state: Option<CheckState>,
    /// The last mark, and when it was first seen.
    mark: Option<(u64, Duration)>,
    /// When the file was last refreshed, as far as is known.
    refreshed: Duration,
    /// How long the last file that was read is valid.
    valid_for: Option<Duration>,
}

impl StatusFileEvidence {
    pub(super) const fn new(began: Duration) -> Self {
        Self { began, state: None, mark: None, refreshed: began, valid_for: None }
    }

    pub(super) const fn state(&self) -> Option<&CheckState> {
        self.state.as_ref()
    }

    /// Whether the file was bad at the last look, or late.
    pub(super) fn trouble(&self, max_age: Option<Duration>) -> Option<Trouble> {
        let state = self.state.as_ref()?;
        let is_bad = state.status.is_bad();
        match &state.status {
            CheckStatus::Bad { reason: Reason::Damaged(_) | Reason::OtherWriter { .. }, since } => {
                return Some(Trouble { since: *since, is_bad });
            }
            // The daemon could not look, so nothing is known.
            CheckStatus::NotPossible { .. } => return None,
            CheckStatus::Off
            | CheckStatus::Ok
            | CheckStatus::Warning { .. }
            | CheckStatus::Bad { .. }
            | CheckStatus::Unknown { .. } => {}
        }
        let timeout = [max_age, self.valid_for].into_iter().flatten().min()?;
        Trouble::of_silence(state.checked_at?, self.refreshed, timeout, is_bad)
    }

    pub(super) fn record(
        &mut self,
        now: Duration,
        max_age: Option<Duration>,
        in_grace: bool,
        pid: u32,
        result: StatusFileResult,
    ) {
        let before = self.state.take().map(|state| state.status);
        let status = match result {
            StatusFileResult::NotRead(detail) if in_grace => CheckStatus::Unknown { detail },
            StatusFileResult::NotRead(detail) => CheckStatus::NotPossible { detail },
            StatusFileResult::Missing => self.judge_missing(now, max_age),
            StatusFileResult::Damaged(how) => CheckStatus::Bad { reason: Reason::Damaged(how), since: now },
            StatusFileResult::Read(facts) => self.judge(now, max_age, pid, facts),
        };
        let status = match status {
            CheckStatus::Bad { reason, .. } if in_grace => {
                CheckStatus::Unknown { detail: format!("{reason}, but the agent has just started") }
            }
            status @ (CheckStatus::Off
            | CheckStatus::Ok
            | CheckStatus::Warning { .. }
            | CheckStatus::Bad { .. }
            | CheckStatus::Unknown { .. }
            | CheckStatus::NotPossible { .. }) => status.continuing(before.as_ref()),
        };
        self.state = Some(CheckState::at(now, status));
    }

    /// A missing file ages like one that is not refreshed: it may be in the middle of a replacement.
    fn judge_missing(&self, now: Duration, max_age: Option<Duration>) -> CheckStatus {
        let age = now.saturating_sub(self.refreshed);
        if max_age.is_some_and(|limit| age > limit) {
            return CheckStatus::Bad { reason: Reason::NoFile, since: self.refreshed };
        }
        let detail = match self.mark {
            Some(_) => format!("not there, last refreshed {} s ago", age.as_secs()),
            None => "not there yet".to_owned(),
        };
        CheckStatus::Unknown { detail }
    }

    fn judge(&mut self, now: Duration, max_age: Option<Duration>, pid: u32, facts: StatusFacts) -> CheckStatus {
        let first_seen = self.mark.filter(|(mark, _)| *mark == facts.mark).map_or(now, |(_, at)| at);
        self.mark = Some((facts.mark, first_seen));
        self.valid_for = facts.valid_for;
        // A file that claims a time of its own choice is still as old as its last change.
        let unchanged = now.saturating_sub(first_seen);
        let age = facts.age.unwrap_or_default().max(unchanged).min(now.saturating_sub(self.began));
        self.refreshed = now.saturating_sub(age);
        let exceeds = |limit: Option<Duration>| limit.is_some_and(|limit| age > limit);
        if let Some(writer) = facts.pid.filter(|writer| *writer != pid) {
            CheckStatus::Bad { reason: Reason::OtherWriter { writer, expected: pid }, since: now }
        } else if exceeds(max_age) || exceeds(facts.valid_for) {
            CheckStatus::Bad { reason: Reason::Frozen, since: now.saturating_sub(age) }
        } else if let Some(ahead) = facts.ahead {
            CheckStatus::Warning { reason: Reason::FromFuture(ahead), since: now }
        } else if let Some(faults) = facts.degraded {
            CheckStatus::Warning { reason: Reason::Degraded(Some(faults)), since: now }
        } else {
            CheckStatus::Ok
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_file_counts_from_its_time_in_the_same_boot_or_from_this_boot() {
        let (now, secs) = (Duration::from_secs(1000), Duration::from_secs);
        assert_eq!(age("a", secs(990), Some("a"), now), (Some(secs(10)), None));
        assert_eq!(age("a", now + CLOCK_SLACK, Some("a"), now), (Some(Duration::ZERO), None), "clocks differ a little");
        let ahead = CLOCK_SLACK + Duration::from_nanos(1);
        assert_eq!(age("a", now + ahead, Some("a"), now), (None, Some(ahead)));
        assert_eq!(age("b", now * 9, Some("a"), now), (Some(now), None), "of an earlier boot");
        assert_eq!(age("", secs(990), Some("a"), now), (None, None), "the kernel gave its writer no boot ID");
        assert_eq!(age("", secs(990), None, now), (None, None));
        assert_eq!(age("a", secs(990), None, now), (None, None));
    }

    #[test]
    fn a_file_is_as_old_as_its_boot_or_its_time_says() {
        let limits = Some(Duration::from_secs(60));
        let facts =
            |age| StatusFacts { mark: 1, age: Some(age), ahead: None, valid_for: None, pid: None, degraded: None };
        let judged = |age| {
            let mut evidence = StatusFileEvidence::new(Duration::ZERO);
            evidence.record(Duration::from_secs(100), limits, false, 1, StatusFileResult::Read(facts(age)));
            evidence.state().map(|state| state.status.is_bad())
        };
        assert_eq!(judged(Duration::from_secs(60)), Some(false), "the limit itself is allowed");
        assert_eq!(judged(Duration::from_nanos(60_000_000_001)), Some(true));
    }
}
