//! Why logging cannot start.

use std::io;
use std::path::PathBuf;

/// Why logging cannot start, or cannot use new settings.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("log file {} cannot be opened: set `log.file` to a file in an existing, writable directory", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// This process logs already.
    #[error("logging was started before")]
    Started,
}
