//! The lock file beside a file: one owner at a time, and the incarnation, which outlives the file itself.
//!
//! The lock is flock(2)'s, so the kernel frees it with the process, however that ends: what a dead one leaves behind is
//! only a file. That file is never renamed nor removed, and holds one line, `incarnation 00000000000000000007 pid
//! 0000004242`, of fixed length and so short that it is written in one sector.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

/// The lock, held for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    device: u64,
    inode: u64,
}

/// Why the lock cannot be had.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it: this one, if it has said so yet.
    Held(Option<u32>),
    /// Something else is in its place.
    NotAFile,
    /// The system says no.
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
    /// Takes the lock `name` in a directory. Does not wait for it.
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

    /// The incarnation that was last started under this lock.
    pub(super) fn incarnation(&self) -> Option<u64> {
        self.read().map(|(incarnation, _)| incarnation)
    }

    /// Notes that this process is the owner's new incarnation, for good.
    pub(super) fn note(&self, incarnation: u64) -> io::Result<()> {
        let line = format!("incarnation {incarnation:020} pid {:010}\n", std::process::id());
        self.file.write_all_at(line.as_bytes(), 0)?;
        self.file.sync_all()
    }

    /// Whether this is the file that we hold.
    pub(super) const fn is(&self, stat: &Stat) -> bool {
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
        // Closing is not enough: a child that is just being started shares the open file until it executes its program.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}
