//! Writes log lines to a file or to standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::error::LogError;
use super::writer::LogWriter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The number of bytes that a writable pipe accepts at once. POSIX guarantees 512 bytes, Linux one page.
const AT_ONCE: usize = 4096;

/// The log file, or standard output.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    /// Whether a write can wait without end: to a regular file for its disk, to a terminal for its reader.
    waits: bool,
    /// The last line was written only in part.
    torn: bool,
}

#[derive(Debug)]
enum Target {
    StandardOutput,
    /// A file that this process writes.
    File(LogFile),
    /// A file that another process writes.
    Writer(LogWriter),
    /// The process ends.
    Closed,
}

/// A log file that this process has open.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    waits: bool,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        // Otherwise a FIFO without a reader would block the start.
        options.create(true).append(true).mode(0o640).custom_flags(nonblock());
        let opened = options.open(path).or_else(|error| match path.parent() {
            // As the Go programs do, whose files run unchanged.
            Some(directory) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(directory)?;
                options.open(path)
            }
            _ => Err(error),
        });
        let file = opened?;
        Ok(Self { waits: can_wait(file.as_fd()), file })
    }

    /// Returns how many bytes are not written, and the error.
    pub(super) fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        write_in_parts(&mut self.file, self.waits, bytes)
    }
}

impl Sink {
    pub(super) fn open(path: Option<&Path>) -> Result<Self, LogError> {
        let Some(path) = path else {
            let waits = can_wait(rustix::stdio::stdout());
            return Ok(Self { target: Target::StandardOutput, waits, torn: false });
        };
        let failed = |error| LogError::File(path.to_owned(), error);
        let target = match LogWriter::open(path).map_err(failed)? {
            Some(writer) => Target::Writer(writer),
            None => Target::File(LogFile::open(path).map_err(failed)?),
        };
        // A file can be replaced by one of another type, so a named one always waits.
        Ok(Self { target, waits: true, torn: false })
    }

    /// Whether a write can wait without end.
    pub(super) const fn can_wait(&self) -> bool {
        self.waits
    }

    /// Goes on with the file of `next`.
    pub(super) fn replace(&mut self, next: Self) {
        *self = Self { torn: self.torn, ..next };
    }

    /// Writes all of `line`. It fails without waiting, unless the sink [can wait](Self::can_wait). After a partial line, the
    /// next line begins with a line feed.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_in_parts(b"\n").1?;
            self.torn = false;
        }
        let (left, result) = self.write_in_parts(line);
        self.torn = left < line.len() && result.is_err();
        result
    }

    /// Lets another process that writes the file end. Nothing can be written after that.
    pub(super) fn close(&mut self) {
        if matches!(self.target, Target::Writer(_)) {
            self.target = Target::Closed;
        }
    }

    fn write_in_parts(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        match &mut self.target {
            Target::StandardOutput => write_in_parts(&mut StandardOutput, self.waits, bytes),
            Target::File(file) => file.write(bytes),
            Target::Writer(writer) => writer.write(bytes),
            Target::Closed => (bytes.len(), Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// Standard output, unbuffered.
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

/// Returns how many bytes are not written, and the error.
fn write_in_parts(to: &mut (impl io::Write + AsFd), waits: bool, line: &[u8]) -> (usize, io::Result<()>) {
    let mut left = line;
    while !left.is_empty() {
        match write_part(to, waits, left.get(..AT_ONCE).unwrap_or(left)) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (left.len(), Err(error)),
        }
    }
    (0, Ok(()))
}

fn write_part(to: &mut (impl io::Write + AsFd), waits: bool, bytes: &[u8]) -> io::Result<usize> {
    if !waits && !takes_more(to.as_fd())? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    match to.write(bytes)? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

/// Whether a write to this descriptor can wait without end, although `poll` says that it is writable.
fn can_wait(fd: BorrowedFd<'_>) -> bool {
    let is = |kind| rustix::fs::fstat(fd).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == kind);
    is(rustix::fs::FileType::RegularFile) || fd.is_terminal()
}

/// Whether a write to a pipe or a socket would return at once.
fn takes_more(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    Ok(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

fn nonblock() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default()
}
