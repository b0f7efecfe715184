//! Looking at an agent's status file, or at whatever file another program touches to show that it works.
//!
//! What does not begin as a status file is not taken for a bad one, but for another program's: of it only the modification
//! time counts. A status file of which nothing is left thus shows by its age.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use statemachine::lifecycle::State;

use crate::daemon::registry::CHECK_TIMEOUT;
use crate::daemon::verdict::{StatusFacts, StatusFileResult};
use ops_protocol::status_file::{DecodeError, ReadError, StatusFile};
use ops_runtime::blocking;
use ops_runtime::clock::{self, within};
use ops_runtime::observe::{boot_id, read_status};

/// Looks at one file.
#[derive(Debug)]
pub struct StatusFileCheck {
    path: Arc<Path>,
    /// Held by a look that is under way. On a disk that hangs, it may be for ever.
    busy: Arc<()>,
}

impl StatusFileCheck {
    /// Of the file at this path, absolute.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path: path.into(), busy: Arc::new(()) }
    }

    /// Looks at it once.
    pub async fn check(&self) -> StatusFileResult {
        // A look cannot be interrupted. One that hangs holds a thread, and one thread for each agent is enough.
        if Arc::strong_count(&self.busy) > 1 {
            return StatusFileResult::NotRead("an earlier look at it still hangs: see if its disk does".to_owned());
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
        Err(ReadError::NotAFile) => StatusFileResult::Damaged("is no regular file".to_owned()),
        Err(ReadError::Corrupt(error)) => match error {
            DecodeError::Nuls | DecodeError::Torn | DecodeError::Edited | DecodeError::Malformed(_) => {
                StatusFileResult::Damaged(format!("is of no use: {error}"))
            }
            // Another program's; or a newer agent's, which this daemon need not understand to see it alive.
            DecodeError::Empty
            | DecodeError::NotAStatusFile
            | DecodeError::TooLong(_)
            | DecodeError::NewerSchema(_) => look_at_time(path),
        },
        Err(ReadError::Unreadable(error)) => unreadable(&error),
    }
}

/// Whatever keeps the daemon from reading it, leave or descriptors or the disk, need not keep the agent from writing it.
fn unreadable(error: &io::Error) -> StatusFileResult {
    StatusFileResult::NotRead(format!("the daemon cannot read it: {error}"))
}

fn facts(file: &StatusFile, boot: Option<&str>, now: Duration) -> StatusFileResult {
    let age = match boot {
        Some(boot) if boot == file.boot_id => now.saturating_sub(Duration::from_nanos(file.updated_boottime_ns)),
        // Written before this boot, so it is at least as old as that.
        Some(_) if !file.boot_id.is_empty() => now,
        Some(_) | None => return StatusFileResult::Read(StatusFacts { age: None, ..bare(file) }),
    };
    StatusFileResult::Read(StatusFacts { age: Some(age), ..bare(file) })
}

fn bare(file: &StatusFile) -> StatusFacts {
    let faults = file.faults.iter().map(|fault| format!("{}: {}", fault.name.as_str(), fault.detail));
    StatusFacts {
        mark: file.sequence,
        age: None,
        valid_for: file.valid_until.0.duration_since(file.updated_at.0).ok(),
        pid: Some(file.pid),
        degraded: (file.state == State::Degraded).then(|| faults.collect::<Vec<_>>().join(", ")),
    }
}

/// The wall clock may jump, so the time itself is not believed, only that it changes.
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
    StatusFileResult::Read(StatusFacts { mark, age: None, valid_for: None, pid: None, degraded: None })
}
