//! Reads small regular files that people write, and never blocks on a pipe.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Reads a regular file. Returns at most `limit` bytes plus one, which shows that there are more. `None`: the path is
/// not a regular file. May block on the disk, but never on a pipe.
pub fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    // Without O_NONBLOCK the open of a named pipe waits for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
