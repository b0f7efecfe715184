//! The lock file beside a file. It ensures one owner at a time, and keeps the incarnation if the file itself is lost.
//!
//! The lock is made with flock(2), so the kernel releases it when the process ends in any way. The lock file is never
//! renamed or removed. It holds one line, `incarnation 00000000000000000007 pid 0000004242`. The line has a fixed
//! length and fits into one sector, so a write of it is never torn.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

/// The lock. It is held until this value is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    device: u64,
    inode: u64,
}

/// Why the lock cannot be taken.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process holds it: its pid, if it has written it yet.
    Held(Option<u32>),
    /// The path is not a regular file.
    NotAFile,
    /// The system call failed.
    Io(io::Error),
}

impl From<Errno> for LockError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::LOOP | Errno::ISDIR | Errno::NXIO => Self::NotAFile,
            error => Self::Io(error.into()),
        }
    }
}

impl Lock {
    /// Takes the lock `name` in a directory. Does not wait.
    pub(super) fn take(directory: BorrowedFd<'_>, name: &OsStr) -> Result<Self, LockError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(retry_on_intr(|| rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR))?);
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(LockError::NotAFile);
        }
        let lock = Self { file, device: stat.st_dev, inode: stat.st_ino };
        match retry_on_intr(|| rustix::fs::flock(&lock.file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(lock),
            Err(Errno::WOULDBLOCK) => Err(LockError::Held(lock.read().map(|(_, pid)| pid))),
            Err(error) => Err(error.into()),
        }
    }

    /// The incarnation of the last owner, if the lock file has one.
    pub(super) fn incarnation(&self) -> Option<u64> {
        self.read().map(|(incarnation, _)| incarnation)
    }

    /// Writes the new incarnation and the pid of this process, and waits until they are on disk.
    pub(super) fn record_owner(&self, incarnation: u64) -> io::Result<()> {
        let line = format!("incarnation {incarnation:020} pid {:010}\n", std::process::id());
        self.file.write_all_at(line.as_bytes(), 0)?;
        self.file.sync_all()
    }

    /// Whether `stat` describes the lock file that this process holds.
    pub(super) const fn is_file(&self, stat: &Stat) -> bool {
        self.device == stat.st_dev && self.inode == stat.st_ino
    }

    fn read(&self) -> Option<(u64, u32)> {
        let mut line = [0; 64];
        let length = self.file.read_at(&mut line, 0).ok()?;
        let text = str::from_utf8(line.get(..length)?).ok()?;
        let mut words = text.split_ascii_whitespace();
        let mut number = |label: &str| words.next().filter(|word| *word == label).and_then(|_| words.next());
        let incarnation = number("incarnation")?.parse().ok()?;
        let pid = number("pid")?.parse().ok()?;
        Some((incarnation, pid))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process shares it between fork and exec.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}
