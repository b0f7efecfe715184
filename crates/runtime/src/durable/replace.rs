//! Replaces the file in one atomic step.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::directory::sync_directory;
use super::lock::{Lock, LockError};
use super::locked_file::{FileNames, LockedFile};

/// The steps of a write, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Start a thread that may block on the disk.
    Begin,
    /// Encode the record as text.
    Encode,
    /// Open the directory again, because another one has its path.
    OpenDirectory,
    /// Take the lock again, because another file has its path.
    Lock,
    /// Create the temp file.
    Create,
    /// Set the mode and the group of the temp file.
    Access,
    /// Write the temp file.
    Write,
    /// Fsync the temp file.
    Sync,
    /// Rename the temp file to the file.
    Rename,
    /// Fsync the directory.
    SyncDirectory,
}

impl Step {
    /// The name of the step in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "start a thread",
            Self::Encode => "encode",
            Self::OpenDirectory => "open the directory",
            Self::Lock => "lock",
            Self::Create => "create temp file",
            Self::Access => "set mode and group",
            Self::Write => "write",
            Self::Sync => "fsync",
            Self::Rename => "rename",
            Self::SyncDirectory => "fsync of the directory",
        }
    }
}

/// The step that failed, and the system's error.
pub(super) type StepError = (Step, io::Error);

impl LockedFile {
    /// Replaces the content of the file by `text`. On an error the file still has its old content, or the new content
    /// if only the last step failed. A later write does not depend on this one.
    pub fn write(&mut self, text: &str) -> Result<(), StepError> {
        self.reopen_if_replaced()?;
        let replaced = self.replace(text);
        if replaced.is_err() {
            // The partial temp file may be what fills the disk. If it cannot be removed now, the next write tries
            // again.
            let _ = rustix::fs::unlinkat(&self.directory, &self.names.temp, AtFlags::empty());
        }
        replaced
    }

    fn replace(&self, text: &str) -> Result<(), StepError> {
        let FileNames { file, temp, .. } = &self.names;
        let temp_file = self.create_temp().map_err(|error| (Step::Create, error))?;
        self.access.give(&temp_file).map_err(|error| (Step::Access, error.into()))?;
        (&temp_file).write_all(text.as_bytes()).map_err(|error| (Step::Write, error))?;
        temp_file.sync_all().map_err(|error| (Step::Sync, error))?;
        retry_on_intr(|| rustix::fs::renameat(&self.directory, temp, &self.directory, file))
            .map_err(|error| (Step::Rename, error.into()))?;
        sync_directory(&self.directory).map_err(|error| (Step::SyncDirectory, error.into()))?;
        Ok(())
    }

    fn create_temp(&self) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || {
            let mode = Mode::RUSR | Mode::WUSR;
            retry_on_intr(|| rustix::fs::openat(&self.directory, &self.names.temp, flags, mode))
        };
        let temp_file = match create() {
            // An earlier write failed and could not remove it. This process holds the lock, so it may.
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&self.directory, &self.names.temp, AtFlags::empty())?;
                create()
            }
            other => other,
        };
        Ok(File::from(temp_file?))
    }

    /// Checks that directory and lock file are still at their paths; the identity of the lock file proves both. If
    /// one was replaced or removed, takes the present directory and a new lock.
    fn reopen_if_replaced(&mut self) -> Result<(), StepError> {
        if rustix::fs::lstat(&self.lock_path).is_ok_and(|stat| self.lock.is_file(&stat)) {
            return Ok(());
        }
        let path = self.path.parent().unwrap_or(&self.path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))
            .map_err(|error| (Step::OpenDirectory, error.into()))?;
        let lock = Lock::take(directory.as_fd(), &self.names.lock).map_err(|error| {
            let cause = match error {
                LockError::Held(Some(pid)) => io::Error::other(format!("pid {pid} holds it")),
                LockError::Held(None) => io::Error::other("another process holds it"),
                LockError::NotAFile => io::Error::other("not a regular file"),
                LockError::Io(error) => error,
            };
            (Step::Lock, cause)
        })?;
        lock.record_owner(self.incarnation).map_err(|error| (Step::Lock, error))?;
        (self.directory, self.lock) = (directory, lock);
        Ok(())
    }
}
