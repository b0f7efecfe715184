//! Why this process cannot become the owner of a file.

use std::io;
use std::path::PathBuf;

/// Why this process cannot become the owner of a file. Callers word it, because the remedy depends on their
/// configuration.
#[derive(Debug)]
pub enum LockedFileError {
    /// The path has no file name.
    NoName(PathBuf),
    /// The directory cannot be created, opened or written to.
    Directory(PathBuf, io::Error),
    /// The directory is writable by group or others, and the caller forbids that.
    Insecure(Insecure),
    /// Another process has the lock of the file at this path: its pid, if it has written it yet.
    Locked(PathBuf, Option<u32>),
    /// The file or the lock file at this path is not a regular file.
    NotAFile(PathBuf),
}

/// A directory that is writable by group or others, and its permissions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is writable by group or others (mode {:04o}): run `chmod go-w` on it", self.0.display(), self.1)]
pub struct Insecure(pub PathBuf, pub u32);
