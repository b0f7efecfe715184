//! Files that are complete at every instant and have one owner at a time: the agent's status file, the daemon's
//! registry.
//!
//! A write has five steps: create a temp file in the same directory, write it, fsync it, rename it, fsync the
//! directory. A file system that cannot fsync a directory skips the last step. Readers see the old file before the
//! rename and the new one after it. Every function blocks on the disk without a limit: call it on a [blocking thread](crate::blocking), or before the event loop runs.

mod access;
mod check;
mod directory;
mod error;
mod lock;
mod locked_file;
mod replace;

pub use access::FileAccess;
pub use error::{Insecure, LockedFileError};
pub use locked_file::{FileNames, LockedFile};
pub use replace::Step;
