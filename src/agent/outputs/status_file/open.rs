//! Taking possession of a status file at the start, and reading what the last run left there.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::lock::{Lock, LockError};
use super::write::{Names, Place, remedy};
use crate::observe::read_open;
use crate::wire::status_file::{Previous, ReadError, StatusFile};

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

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName(path) => write!(f, "`state.file` is {}: name a file, not a directory", path.display()),
            Self::Directory(path, error) => {
                write!(f, "state directory {} cannot be used: {}", path.display(), remedy(error))
            }
            Self::Insecure(path, mode) => write!(f, "{}", Insecure(path, *mode)),
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

struct Insecure<'a>(&'a Path, u32);

impl fmt::Display for Insecure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, mode) = self;
        write!(f, "others may write to {} (mode {mode:04o}): chmod go-w it", path.display())
    }
}

pub(super) fn open(path: &Path, strict: bool) -> Result<(Place, Found), OpenError> {
    let path = std::path::absolute(path).map_err(|error| OpenError::Directory(path.to_owned(), error))?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(OpenError::NoName(path));
    };
    let names = Names {
        file: name.to_owned(),
        temp: beside(OsStr::new("."), name, ".tmp"),
        lock: beside(OsStr::new(""), name, ".lock"),
        corrupt: beside(OsStr::new(""), name, ".corrupt"),
    };
    let mut found = Found::default();
    let unusable = |error: io::Error| OpenError::Directory(parent.to_owned(), error);
    let directory = open_directory(parent).map_err(unusable)?;
    if let Some(mode) = writable_by_others(&directory).map_err(unusable)? {
        if strict {
            return Err(OpenError::Insecure(parent.to_owned(), mode));
        }
        found.notes.push(Insecure(parent, mode).to_string());
    }
    let lock_path = parent.join(&names.lock);
    let lock = Lock::take(directory.as_fd(), &names.lock).map_err(|error| match error {
        LockError::Held(pid) => OpenError::Locked(path.clone(), pid),
        LockError::NotAFile => OpenError::NotAFile(lock_path.clone()),
        LockError::Io(error) => unusable(error),
    })?;
    // From here on, whatever is in the directory under our names is ours alone.
    match rustix::fs::unlinkat(&directory, &names.temp, AtFlags::empty()) {
        Ok(()) => found.notes.push("the last run died while it wrote; what it left of that is removed".to_owned()),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(unusable(error.into())),
    }
    let last = read_last(&directory, &path, &names, &mut found.notes)?;
    found.previous = last.as_ref().map(StatusFile::as_previous);
    found.sequence = last.as_ref().map_or(0, |file| file.sequence);
    let in_file = last.map_or(0, |file| file.incarnation);
    let in_lock = lock.incarnation();
    found.incarnation = in_file.max(in_lock.unwrap_or(0)).saturating_add(1);
    let noted = lock.note(found.incarnation).and_then(|()| match in_lock {
        Some(_) => Ok(()),
        // The lock file may be new: its name has to last as well as its content.
        None => Ok(rustix::fs::fsync(&directory)?),
    });
    if let Err(error) = noted {
        // As with every write: no reason to die, but one to complain.
        found.notes.push(format!("incarnation {} not noted: {}: {error}", found.incarnation, remedy(&error)));
    }
    let incarnation = found.incarnation;
    Ok((Place { lock_path, names, directory, lock, incarnation, text: String::new(), path }, found))
}

fn beside(prefix: &OsStr, name: &OsStr, suffix: &str) -> OsString {
    let mut beside = prefix.to_owned();
    beside.push(name);
    beside.push(suffix);
    beside
}

/// Opens the directory, and makes it first if it is missing.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || rustix::fs::open(path, flags, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            if let Some(parent) = path.parent() {
                // So that it is still there after a power cut.
                File::open(parent)?.sync_all()?;
            }
            Ok(open()?)
        }
        other => Ok(other?),
    }
}

/// The directory's permissions, if they let others replace what is in it.
fn writable_by_others(directory: &OwnedFd) -> io::Result<Option<u32>> {
    let stat = rustix::fs::fstat(directory)?;
    let mode = stat.st_mode & 0o7777;
    Ok((mode & 0o022 != 0).then_some(mode))
}

/// What the last run wrote. Whatever else is in its place is put aside or left alone, noted, and not believed.
fn read_last(
    directory: &OwnedFd,
    path: &Path,
    names: &Names,
    notes: &mut Vec<String>,
) -> Result<Option<StatusFile>, OpenError> {
    let kind = match rustix::fs::statat(directory, &names.file, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(OpenError::Directory(path.to_owned(), error.into())),
    };
    if kind == FileType::Symlink {
        notes.push(format!(
            "{} is a symbolic link: it is replaced by the status file, and what it points to is left alone",
            path.display()
        ));
        return Ok(None);
    }
    if kind != FileType::RegularFile {
        return Err(OpenError::NotAFile(path.to_owned()));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let read = match rustix::fs::openat(directory, &names.file, flags, Mode::empty()) {
        Ok(fd) => read_open(File::from(fd)),
        Err(error) => Err(ReadError::Unreadable(error.into())),
    };
    match read {
        Ok(file) => Ok(Some(file)),
        Err(error) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            let aside = path.with_file_name(&names.corrupt);
            notes.push(match rustix::fs::renameat(directory, &names.file, directory, &names.corrupt) {
                Ok(()) => format!("{} is of no use, {cause}; it is kept as {}", path.display(), aside.display()),
                Err(failure) => format!(
                    "{} is of no use, {cause}; it cannot be kept as {}: {failure}",
                    path.display(),
                    aside.display()
                ),
            });
            Ok(None)
        }
    }
}
