//! Taking possession of a status file at the start, and reading what the last run left there.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use ops_protocol::status_file::{Previous, ReadError, StatusFile};
use ops_runtime::durable::{self, Insecure, LockedFile};
use ops_runtime::errno::remedy;
use ops_runtime::observe::read_open;

/// What the last run left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The incarnation of this run: one more than the highest that is known, and noted on disk.
    pub incarnation: u64,
    /// The last sequence number on disk. 0 if there is none.
    pub sequence: u64,
    /// How the last run ended. `None`: there was none, or nothing is known of it.
    pub previous: Option<Previous>,
    /// What an operator should know, each to be logged as a warning.
    pub notes: Vec<String>,
}

/// Why the agent cannot start with this status file.
#[derive(Debug)]
pub enum OpenError {
    /// The path names no file.
    NoName(PathBuf),
    /// The directory cannot be made, opened or written to.
    Directory(PathBuf, io::Error),
    /// Others may write to the directory, with these permissions, and `state.strict` forbids that.
    Insecure(PathBuf, u32),
    /// Another process has the lock of this status file: this one, if it has said so yet.
    Locked(PathBuf, Option<u32>),
    /// What is at this path is no regular file.
    NotAFile(PathBuf),
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
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Directory(_, error) => Some(error),
            Self::NoName(_) | Self::Insecure(..) | Self::Locked(..) | Self::NotAFile(_) => None,
        }
    }
}

/// Opens the place, and finds out what the last run left there.
pub(super) fn open(path: &Path, strict: bool) -> Result<(LockedFile, Found), OpenError> {
    let mut found = Found::default();
    let mut place = LockedFile::open(path, strict, &mut found.notes)?;
    let last = read_last(&place, &mut found.notes)?;
    found.previous = last.as_ref().map(StatusFile::as_previous);
    found.sequence = last.as_ref().map_or(0, |file| file.sequence);
    let in_file = last.map_or(0, |file| file.incarnation);
    found.incarnation = in_file.max(place.incarnation()).saturating_add(1);
    if let Err(error) = place.begin(found.incarnation) {
        // As with every write: no reason to die, but one to complain.
        found.notes.push(format!("incarnation {} not noted: {}: {error}", found.incarnation, remedy(&error)));
    }
    Ok((place, found))
}

/// What the last run wrote. Whatever else is in its place is put aside or left alone, noted, and not believed.
fn read_last(place: &LockedFile, notes: &mut Vec<String>) -> Result<Option<StatusFile>, OpenError> {
    let LockedFile { path, directory, names, .. } = place;
    let kind = match rustix::fs::statat(directory, &names.file, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(OpenError::Directory(path.clone(), error.into())),
    };
    if kind == FileType::Symlink {
        notes.push(format!(
            "{} is a symbolic link: it is replaced by the status file, and what it points to is left alone",
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
        Ok(file) => Ok(Some(file)),
        Err(error) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            notes.push(place.quarantine(&cause));
            Ok(None)
        }
    }
}
