//! What the kernel's errors mean to who runs the programs.

use std::io;

use rustix::io::Errno;

/// Whether there was a want of descriptors, memory, processes or disk: that says nothing about what was asked for.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::NOBUFS | Errno::NOSPC | Errno::DQUOT)
    )
}

/// The fact in a few words, then what to do about it.
#[must_use]
pub fn remedy(error: &io::Error) -> &'static str {
    let Some(errno) = Errno::from_io_error(error) else {
        return "look at the cause";
    };
    match errno {
        Errno::NOSPC => "disk full: free space or inodes on its file system",
        Errno::DQUOT => "quota used up: free space or raise the quota",
        Errno::ROFS => "read-only file system: mount it writable",
        Errno::NOENT => "directory gone: create it again",
        Errno::NOTDIR => "not a directory: look at its path",
        Errno::ACCESS | Errno::PERM => "not permitted: give this program's user write permission in its directory",
        Errno::IO => "the disk fails: look at the kernel's log",
        Errno::MFILE | Errno::NFILE => "out of file descriptors: raise the limit",
        Errno::AGAIN => "no thread to be had: raise the limit on processes",
        Errno::NOMEM | Errno::NOBUFS => "out of memory: free some, or raise the limit",
        Errno::ISDIR => "a directory is in its place: remove it",
        Errno::NAMETOOLONG => "its name is too long: configure a shorter one",
        _ => "look at the cause",
    }
}
