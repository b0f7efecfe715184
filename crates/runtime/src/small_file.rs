//! Files that people write: small, regular, and not to be waited for.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The content of a regular file, but no more than `most` bytes and one, which shows that there are more. `None`: it is not
/// a regular file, and nothing was read. Blocks on the disk, but never on a pipe.
pub fn read(path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    // Without O_NONBLOCK the open of a named pipe waits for a writer, for ever.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
