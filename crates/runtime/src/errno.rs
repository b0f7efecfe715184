//! What kernel errors mean to an operator.

use std::io;

use rustix::io::Errno;

/// Whether the error is a shortage of descriptors, memory, processes or disk space. Such an error says nothing about
/// the request itself.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::NOBUFS | Errno::NOSPC | Errno::DQUOT)
    )
}

/// A short fact, then the remedy.
#[must_use]
pub fn remedy(error: &io::Error) -> &'static str {
    let Some(errno) = Errno::from_io_error(error) else {
        return "see the cause";
    };
    match errno {
        Errno::NOSPC => "disk full: free space or inodes on its file system",
        Errno::DQUOT => "disk quota exceeded: free space or raise the quota",
        Errno::ROFS => "read-only file system: mount it writable",
        Errno::NOENT => "the directory is missing: create it",
        Errno::NOTDIR => "not a directory: check the path",
        Errno::ACCESS | Errno::PERM => "permission denied: give this program's user write permission in the directory",
        Errno::IO => "I/O error: check the disk and the kernel log",
        Errno::MFILE | Errno::NFILE => "out of file descriptors: raise the limit",
        Errno::AGAIN => "the system refused a thread: raise the limit on processes",
        Errno::NOMEM | Errno::NOBUFS => "out of memory: free memory or raise the limit",
        Errno::ISDIR => "a directory is in its place: remove it",
        Errno::NAMETOOLONG => "the name is too long: configure a shorter one",
        _ => "see the cause",
    }
}
