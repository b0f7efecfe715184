//! One write, step by step.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::lock::{Lock, LockError};
use super::{FileNames, LockedFile};

/// What a write consists of, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Get a thread that may wait for the disk.
    Begin,
    /// Put the record into text.
    Encode,
    /// Open the directory again, since another one is in its place.
    OpenDirectory,
    /// Take the lock again, since another file is in its place.
    Lock,
    /// Create the temp file.
    Create,
    /// Write it.
    Write,
    /// Wait until it is on disk.
    Sync,
    /// Put it in the place of the file.
    Rename,
    /// Wait until that is on disk.
    SyncDirectory,
}

impl Step {
    /// The step in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "start a thread",
            Self::Encode => "encode",
            Self::OpenDirectory => "open the directory",
            Self::Lock => "lock",
            Self::Create => "create temp file",
            Self::Write => "write",
            Self::Sync => "fsync",
            Self::Rename => "rename",
            Self::SyncDirectory => "fsync of the directory",
        }
    }
}

/// Which step failed, and what the system said.
pub(super) type Failure = (Step, io::Error);

impl LockedFile {
    /// Replaces the file by one with this text. The file is then still the last whole one, or, if only the last step
    /// failed, the new one. The next write starts from scratch.
    pub fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.settle()?;
        let replaced = self.replace(text);
        if replaced.is_err() {
            // What is left of it may be what fills the disk. If it cannot be removed now, the next write tries again.
            let _ = rustix::fs::unlinkat(&self.directory, &self.names.temp, AtFlags::empty());
        }
        replaced
    }

    fn replace(&self, text: &str) -> Result<(), Failure> {
        let FileNames { file, temp, .. } = &self.names;
        let fresh = self.create_temp().map_err(|error| (Step::Create, error))?;
        (&fresh).write_all(text.as_bytes()).map_err(|error| (Step::Write, error))?;
        fresh.sync_all().map_err(|error| (Step::Sync, error))?;
        retry_on_intr(|| rustix::fs::renameat(&self.directory, temp, &self.directory, file))
            .map_err(|error| (Step::Rename, error.into()))?;
        retry_on_intr(|| rustix::fs::fsync(&self.directory)).map_err(|error| (Step::SyncDirectory, error.into()))
    }

    fn create_temp(&self) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || {
            let mode = Mode::RUSR | Mode::WUSR;
            retry_on_intr(|| rustix::fs::openat(&self.directory, &self.names.temp, flags, mode))
        };
        let fresh = match create() {
            // Left over by a write that failed and could not clean up. The lock makes it ours to remove.
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&self.directory, &self.names.temp, AtFlags::empty())?;
                create()
            }
            other => other,
        };
        Ok(File::from(fresh?))
    }

    /// Makes sure that directory and lock are still those at their path: one look at the lock file tells both. If the
    /// directory was replaced or the lock file removed, whatever is there now is taken into possession.
    fn settle(&mut self) -> Result<(), Failure> {
        if rustix::fs::lstat(&self.lock_path).is_ok_and(|stat| self.lock.is(&stat)) {
            return Ok(());
        }
        let path = self.path.parent().unwrap_or(&self.path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))
            .map_err(|error| (Step::OpenDirectory, error.into()))?;
        let lock = Lock::take(directory.as_fd(), &self.names.lock).map_err(|error| {
            let cause = match error {
                LockError::Held(Some(pid)) => io::Error::other(format!("pid {pid} has it")),
                LockError::Held(None) => io::Error::other("another process has it"),
                LockError::NotAFile => io::Error::other("not a regular file"),
                LockError::Io(error) => error,
            };
            (Step::Lock, cause)
        })?;
        lock.note(self.incarnation).map_err(|error| (Step::Lock, error))?;
        (self.directory, self.lock) = (directory, lock);
        Ok(())
    }
}
