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
    pub(super) lost_told: u64,
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
        Ok(Self { file: path.map(open).transpose()?, lost_told: super::lines_lost() })
    }

    /// Writes all of `line`, or fails without waiting. A line that was begun is ended, as far as the reader goes along.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => write_in_steps(file, line),
            None => write_in_steps(&mut StandardOutput, line),
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

fn write_in_steps(to: &mut (impl io::Write + AsFd), line: &[u8]) -> io::Result<()> {
    let mut left = line;
    while !left.is_empty() {
        if !takes_more(to.as_fd())? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match to.write(&left[..left.len().min(AT_ONCE)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a write would not wait. A regular file always says yes.
fn takes_more(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    Ok(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

fn nonblock() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default()
}
