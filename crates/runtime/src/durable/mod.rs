//! Files that are whole at every instant, and have one owner at a time: the agent's status file, the daemon's registry.
//!
//! A write is: temp file in the same directory, write, fsync, rename, fsync of the directory. Before the rename a reader
//! sees the old file, after it the new one. All of it blocks for as long as the disk likes: to be called on the pool for
//! blocking work, or before the loop runs.

mod lock;
mod replace;

pub use replace::Step;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use lock::{Lock, LockError};

/// Where a file is, and what is held of it: the directory and the lock.
#[derive(Debug)]
pub struct LockedFile {
    /// The file, absolute.
    pub path: PathBuf,
    /// The names of the file and of what lies beside it.
    pub names: FileNames,
    /// The open directory that all of them are in.
    pub directory: OwnedFd,
    lock_path: PathBuf,
    lock: Lock,
    incarnation: u64,
    /// The lock file held no incarnation: it may be new.
    is_new: bool,
}

/// The names in the directory.
#[derive(Debug)]
pub struct FileNames {
    /// The file itself.
    pub file: OsString,
    /// Where an unreadable file is kept.
    pub corrupt: OsString,
    temp: OsString,
    lock: OsString,
}

/// Why a file cannot be taken into possession.
#[derive(Debug)]
pub enum OpenError {
    /// The path names no file.
    NoName(PathBuf),
    /// The directory cannot be made, opened or written to.
    Directory(PathBuf, io::Error),
    /// Others may write to the directory, which is not to be.
    Insecure(Insecure),
    /// Another process has the file at this path: this one, if it has said so yet.
    Locked(PathBuf, Option<u32>),
    /// What is at this path is no regular file.
    NotAFile(PathBuf),
}

/// A directory that others may write to, with these permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insecure(pub PathBuf, pub u32);

impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, mode) = self;
        write!(f, "others may write to {} (mode {mode:04o}): chmod go-w it", path.display())
    }
}

impl LockedFile {
    /// Takes possession of the file at `path`, whose directory is made if it is missing. What an operator should know is
    /// added to `notes`.
    ///
    /// `strict` makes a directory that others may write to an error rather than a note.
    pub fn open(path: &Path, strict: bool, notes: &mut Vec<String>) -> Result<Self, OpenError> {
        let path = std::path::absolute(path).map_err(|error| OpenError::Directory(path.to_owned(), error))?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(OpenError::NoName(path));
        };
        let names = FileNames {
            file: name.to_owned(),
            temp: beside(OsStr::new("."), name, ".tmp"),
            lock: beside(OsStr::new(""), name, ".lock"),
            corrupt: beside(OsStr::new(""), name, ".corrupt"),
        };
        let unusable = |error: io::Error| OpenError::Directory(parent.to_owned(), error);
        let directory = open_directory(parent).map_err(unusable)?;
        if let Some(mode) = writable_by_others(&directory).map_err(unusable)? {
            let insecure = Insecure(parent.to_owned(), mode);
            if strict {
                return Err(OpenError::Insecure(insecure));
            }
            notes.push(insecure.to_string());
        }
        let lock_path = parent.join(&names.lock);
        let lock = Lock::take(directory.as_fd(), &names.lock).map_err(|error| match error {
            LockError::Held(pid) => OpenError::Locked(path.clone(), pid),
            LockError::NotAFile => OpenError::NotAFile(lock_path.clone()),
            LockError::Io(error) => unusable(error),
        })?;
        // From here on, whatever is in the directory under our names is ours alone.
        match rustix::fs::unlinkat(&directory, &names.temp, AtFlags::empty()) {
            Ok(()) => notes.push("the last run died while it wrote; what it left of that is removed".to_owned()),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(unusable(error.into())),
        }
        let last = lock.incarnation();
        let (is_new, incarnation) = (last.is_none(), last.unwrap_or(0));
        Ok(Self { lock_path, names, directory, lock, incarnation, is_new, path })
    }

    /// The incarnation of the last owner. 0 if there was none.
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Notes that this process is the new owner, as this incarnation.
    pub fn begin(&mut self, incarnation: u64) -> io::Result<()> {
        self.incarnation = incarnation;
        self.lock.note(incarnation)?;
        if self.is_new {
            // Its name has to last as well as its content.
            retry_on_intr(|| rustix::fs::fsync(&self.directory))?;
            self.is_new = false;
        }
        Ok(())
    }

    /// Puts what is there aside, as something that is of no use for this `cause`. The answer is for an operator.
    pub fn quarantine(&self, cause: &str) -> String {
        let aside = self.path.with_file_name(&self.names.corrupt);
        let (path, aside) = (self.path.display(), aside.display());
        match rustix::fs::renameat(&self.directory, &self.names.file, &self.directory, &self.names.corrupt) {
            Ok(()) => format!("{path} is of no use, {cause}; it is kept as {aside}"),
            Err(failure) => format!("{path} is of no use, {cause}; it cannot be kept as {aside}: {failure}"),
        }
    }
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
    let open = || retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()));
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
