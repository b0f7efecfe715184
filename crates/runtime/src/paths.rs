//! Paths for readers.

use std::path::{Path, PathBuf};

/// The path with the directory that it starts at, because its reader may be in another one.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
