//! Writes the status file. At every instant a complete file is on disk, and at most one agent writes it.
//!
//! * [`record()`] makes the file's record from the snapshot.
//! * [`StatusWriter`] holds the lock and writes records to disk.
//!
//! [`durable`](ops_runtime::durable) replaces the file in one step.

pub(crate) mod access;
pub(crate) mod open;
pub(crate) mod record;
pub(crate) mod write;

pub(crate) use access::access;
pub(crate) use open::{Found, OpenError};
pub(crate) use record::{Context, record};
pub(crate) use write::WriteError;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ops_protocol::status_file::StatusFile;
use ops_runtime::blocking;
use ops_runtime::durable::{FileAccess, LockedFile};

/// Holds the lock of one status file, and writes the file. Clones share the lock, and the last one that is dropped releases it.
#[derive(Debug, Clone)]
pub struct StatusWriter {
    path: Arc<Path>,
    // Locked during a write, on a blocking thread. A write that hangs there delays the next one.
    writer: Arc<Mutex<write::StatusFileWriter>>,
    // Of the next write. Not locked during one.
    access: Arc<Mutex<FileAccess>>,
}

impl StatusWriter {
    /// Locks the status file at `path`, and returns what the last run left there. Blocks on the disk, so call it before the
    /// loop runs.
    ///
    /// With `strict`, a directory that is writable by group or others is an error instead of a note. `access` says who may
    /// read the file, and enter a directory that is created for it.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. Then the agent cannot start.
    pub fn open(path: &Path, strict: bool, access: FileAccess) -> Result<(Self, Found), OpenError> {
        let (file, found) = open::open(path, strict, access)?;
        let path = Arc::from(file.path.as_path());
        let writer = Arc::new(Mutex::new(write::StatusFileWriter::new(file)));
        Ok((Self { path, writer, access: Arc::new(Mutex::new(access)) }, found))
    }

    /// Looks for what [`StatusWriter::open`] would refuse, and returns its notes about the directory. Changes nothing. Blocks
    /// on the disk.
    ///
    /// # Errors
    ///
    /// [`OpenError`], as from a start. A file that a running agent has locked is no error.
    pub fn check(path: &Path, strict: bool) -> Result<Vec<String>, OpenError> {
        Ok(LockedFile::check(path, strict)?)
    }

    /// Sets who may read the file from the next write on.
    pub fn set_access(&self, access: FileAccess) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = access;
    }

    /// The absolute path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a record to disk. After `Ok` it is durable.
    ///
    /// A second write waits for the first, without a limit.
    ///
    /// # Errors
    ///
    /// [`WriteError`] names the step that failed. The file on disk is then the last complete one, or the new one if only the
    /// last step failed. The next write begins from the first step.
    pub async fn write(&self, record: StatusFile) -> Result<(), WriteError> {
        let writer = Arc::clone(&self.writer);
        let access = *self.access.lock().unwrap_or_else(PoisonError::into_inner);
        let write = move || writer.lock().unwrap_or_else(PoisonError::into_inner).write(&record, access);
        let written = blocking::unblock(write).await;
        written.unwrap_or_else(|error| Err(WriteError::no_thread(&self.path, error)))
    }
}
