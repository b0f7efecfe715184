//! Locks a status file at the start, and reads what the last run left there.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use ops_protocol::status_file::{Previous, ReadError, StatusFile};
use ops_runtime::durable::{self, FileAccess, Insecure, LockedFile};
use ops_runtime::errno::remedy;
use ops_runtime::observe::read_open;

/// What the last run left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The incarnation of this run: one more than the highest known one. It is recorded on disk.
    pub incarnation: u64,
    /// The last sequence number on disk, or 0.
    pub sequence: u64,
    /// How the last run ended. `None`: there was none, or its file cannot be read.
    pub previous: Option<Previous>,
    /// Warnings for the log.
    pub notes: Vec<String>,
}

/// Why the agent cannot start with this status file.
#[derive(Debug)]
pub enum OpenError {
    /// The path names no file.
    NoName(PathBuf),
    /// The directory cannot be created, opened or written to.
    Directory(PathBuf, io::Error),
    /// The directory has these permissions: it is writable by group or others, and `state.strict` is set.
    Insecure(PathBuf, u32),
    /// Another process holds the lock of this status file. Its process ID, if it is known.
    Locked(PathBuf, Option<u32>),
    /// The path exists and is no regular file.
    NotAFile(PathBuf),
    /// The group in `state.group` cannot be found.
    NoGroup(String),
}

impl From<durable::LockedFileError> for OpenError {
    fn from(error: durable::LockedFileError) -> Self {
        match error {
            durable::LockedFileError::NoName(path) => Self::NoName(path),
            durable::LockedFileError::Directory(path, error) => Self::Directory(path, error),
            durable::LockedFileError::Insecure(Insecure(path, mode)) => Self::Insecure(path, mode),
            durable::LockedFileError::Locked(path, pid) => Self::Locked(path, pid),
            durable::LockedFileError::NotAFile(path) => Self::NotAFile(path),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName(path) => write!(f, "`state.file` is {}: name a file, not a directory", path.display()),
            Self::Directory(path, error) => {
                write!(f, "state directory {} cannot be used: {}", path.display(), remedy(error))
            }
            Self::Insecure(path, mode) => write!(f, "{}", Insecure(path.clone(), *mode)),
            Self::Locked(path, Some(pid)) => {
                write!(f, "another agent, pid {pid}, uses {}: stop it, or set another `state.file`", path.display())
            }
            Self::Locked(path, None) => {
                write!(f, "another agent uses {}: stop it, or set another `state.file`", path.display())
            }
            Self::NotAFile(path) => {
                write!(f, "{} is no regular file: remove it, or set another `state.file`", path.display())
            }
            Self::NoGroup(name) => {
                write!(
                    f,
                    "`state.group` is `{name}`, a group that cannot be found: create it, or correct `state.group`"
                )
            }
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Directory(_, error) => Some(error),
            Self::NoName(_) | Self::Insecure(..) | Self::Locked(..) | Self::NotAFile(_) | Self::NoGroup(_) => None,
        }
    }
}

/// Locks the file, and reads what the last run left there.
pub(super) fn open(path: &Path, strict: bool, access: FileAccess) -> Result<(LockedFile, Found), OpenError> {
    let mut found = Found::default();
    let mut file = LockedFile::open(path, strict, access, &mut found.notes)?;
    let last = read_last(&file, &mut found.notes)?;
    found.previous = last.as_ref().map(StatusFile::as_previous);
    found.sequence = last.as_ref().map_or(0, |file| file.sequence);
    let last_incarnation = last.map_or(0, |last| last.incarnation);
    found.incarnation = last_incarnation.max(file.incarnation()).saturating_add(1);
    if let Err(error) = file.begin(found.incarnation, &mut found.notes) {
        // Like every failed write, this does not end the agent.
        found.notes.push(format!("incarnation {} not noted: {}: {error}", found.incarnation, remedy(&error)));
    }
    Ok((file, found))
}

/// The last run's status file. Anything else at the path is quarantined or left alone, noted, and not used.
fn read_last(file: &LockedFile, notes: &mut Vec<String>) -> Result<Option<StatusFile>, OpenError> {
    let LockedFile { path, directory, names, .. } = file;
    let kind = match rustix::fs::statat(directory, &names.file, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(OpenError::Directory(path.clone(), error.into())),
    };
    if kind == FileType::Symlink {
        notes.push(format!(
            "{} is a symbolic link: the status file replaces it, and its target is not changed",
            path.display()
        ));
        return Ok(None);
    }
    if kind != FileType::RegularFile {
        return Err(OpenError::NotAFile(path.clone()));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let read = match retry_on_intr(|| rustix::fs::openat(directory, &names.file, flags, Mode::empty())) {
        Ok(fd) => read_open(File::from(fd)),
        Err(error) => Err(ReadError::Unreadable(error.into())),
    };
    match read {
        Ok(last) => Ok(Some(last)),
        Err(error) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            notes.push(file.quarantine(&cause));
            Ok(None)
        }
    }
}
