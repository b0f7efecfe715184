//! Reads small files that people write. Only a reader who asks for it waits for a pipe, and not without end.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read as read_some};

use super::clock::{Clock as _, SystemClock};

/// How long a pipe may take to its end.
const PIPE_TIMEOUT: Duration = Duration::from_secs(20);

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// At most the limit plus one byte, which shows that there are more.
    pub bytes: Vec<u8>,
    /// Whether it came through a pipe, so it cannot be read again.
    pub read_once: bool,
}

/// Reads a regular file as [`read`] does, or a pipe to its end. `None`: the path is neither. Waits 20 s at most for a pipe.
pub fn read_or_pipe(path: &Path, limit: usize) -> io::Result<Option<Content>> {
    if !path.metadata()?.file_type().is_fifo() {
        return Ok(read(path, limit)?.map(|bytes| Content { bytes, read_once: false }));
    }
    let file = OpenOptions::new().read(true).custom_flags(nonblocking()).open(path)?;
    read_pipe(&file, limit).map(Some)
}

/// Reads the standard input to its end, as [`read_or_pipe`] reads a pipe.
pub fn read_stdin(limit: usize) -> io::Result<Content> {
    read_pipe(&io::stdin(), limit)
}

fn read_pipe(file: &impl AsFd, limit: usize) -> io::Result<Content> {
    let end = SystemClock.now().monotonic + PIPE_TIMEOUT;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while bytes.len() <= limit {
        let left = end.saturating_sub(SystemClock.now().monotonic);
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "its writer has not closed it within 20 s")),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match read_some(file, &mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(limit + 1);
    Ok(Content { bytes, read_once: true })
}

/// Without O_NONBLOCK the open of a named pipe waits for a writer.
const fn nonblocking() -> i32 {
    rustix::fs::OFlags::NONBLOCK.bits().cast_signed()
}

/// Reads a regular file. Returns at most `limit` bytes plus one, which shows that there are more. `None`: the path is
/// not a regular file. May block on the disk, but never on a pipe.
pub fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = OpenOptions::new().read(true).custom_flags(nonblocking()).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
