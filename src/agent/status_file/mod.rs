//! Writes the status file, so that at every instant there is a whole one on disk and at most one agent that writes it.
//!
//! * [`record()`] makes the file's record from the snapshot.
//! * [`StatusWriter`] holds the lock and puts records on disk.
//!
//! How a write replaces the file at one stroke is [`durable`](ops_runtime::durable)'s matter.

pub(crate) mod open;
pub(crate) mod record;
pub(crate) mod write;

pub(crate) use open::{Found, OpenError};
pub(crate) use record::{Context, record};
pub(crate) use write::WriteError;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ops_protocol::status_file::StatusFile;
use ops_runtime::blocking;

/// Holds the lock of one status file, and writes it. Clones share both; the lock is free again when the last is dropped.
#[derive(Debug, Clone)]
pub struct StatusWriter {
    path: Arc<Path>,
    // Locked by whoever writes, on the pool: a write that was given up and still hangs there keeps the next one waiting.
    pen: Arc<Mutex<write::StatusFileWriter>>,
}

impl StatusWriter {
    /// Takes possession of the status file at `path`, and tells what the last run left there. Blocking: to be called
    /// before the loop runs.
    ///
    /// `strict` makes a directory that others may write to an error rather than a note.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the start cannot succeed.
    pub fn open(path: &Path, strict: bool) -> Result<(Self, Found), OpenError> {
        let (place, found) = open::open(path, strict)?;
        let path = Arc::from(place.path.as_path());
        Ok((Self { path, pen: Arc::new(Mutex::new(write::StatusFileWriter::new(place))) }, found))
    }

    /// Where the file is, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a record on disk. When this returns `Ok`, it is there to stay.
    ///
    /// One write at a time, please: a second one waits for the first, however long that takes.
    ///
    /// # Errors
    ///
    /// [`WriteError`] names the step that failed. The file is then still the last whole one, or, if only the last step
    /// failed, the new one. The next write starts from scratch and heals whatever has become possible again.
    pub async fn write(&self, record: StatusFile) -> Result<(), WriteError> {
        let pen = Arc::clone(&self.pen);
        let written =
            blocking::unblock(move || pen.lock().unwrap_or_else(PoisonError::into_inner).write(&record)).await;
        written.unwrap_or_else(|error| Err(WriteError::before_it_began(&self.path, error)))
    }
}
