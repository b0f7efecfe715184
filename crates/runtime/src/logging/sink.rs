//! Writes lines to where they belong without ever waiting for a reader.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What a pipe takes at once if it takes anything: POSIX promises no less than 512 bytes, Linux a page.
const AT_ONCE: usize = 4096;

/// An open file, or standard output.
#[derive(Debug)]
pub(super) struct Sink {
    file: Option<File>,
    /// How many lost lines have been told of.
    lost_told: u64,
    /// The last line broke off in its middle.
    torn: bool,
}

impl Sink {
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            // A log that is a FIFO without a reader must not hold the start up for ever.
            options.create(true).append(true).mode(0o640).custom_flags(nonblock());
            options.open(path).map_err(|error| {
                io::Error::new(error.kind(), format!("log file {}: {error}; set `log.file` to a file in a directory that exists and can be written to", path.display()))
            })
        };
        Ok(Self { file: path.map(open).transpose()?, lost_told: 0, torn: false })
    }

    /// What is still to be told, and what is still to be ended, of the sink that this one follows.
    pub(super) fn follow(&mut self, before: &Self) {
        (self.lost_told, self.torn) = (before.lost_told, before.torn);
    }

    /// How many of `lost` lines have not been told of.
    pub(super) const fn untold(&self, lost: u64) -> u64 {
        lost.saturating_sub(self.lost_told)
    }

    /// So many more have been told of.
    pub(super) const fn told(&mut self, missing: u64) {
        self.lost_told += missing;
    }

    /// Writes all of `line`, or fails without waiting. After one that broke off, the next begins on a line of its own.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_in_steps(b"\n").1?;
            self.torn = false;
        }
        let (left, result) = self.write_in_steps(line);
        self.torn = left < line.len() && result.is_err();
        result
    }

    fn write_in_steps(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        match &mut self.file {
            Some(file) => write_in_steps(file, bytes),
            None => write_in_steps(&mut StandardOutput, bytes),
        }
    }
}

/// Standard output as it is, without a buffer in between.
struct StandardOutput;

impl AsFd for StandardOutput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        rustix::stdio::stdout()
    }
}

impl io::Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes it could not write, and why.
fn write_in_steps(to: &mut (impl io::Write + AsFd), line: &[u8]) -> (usize, io::Result<()>) {
    let mut left = line;
    while !left.is_empty() {
        match step(to, left.get(..AT_ONCE).unwrap_or(left)) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (left.len(), Err(error)),
        }
    }
    (0, Ok(()))
}

fn step(to: &mut (impl io::Write + AsFd), bytes: &[u8]) -> io::Result<usize> {
    if !takes_more(to.as_fd())? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    match to.write(bytes)? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

/// Whether a write would not wait. A regular file always says yes.
fn takes_more(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    Ok(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

fn nonblock() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default()
}
