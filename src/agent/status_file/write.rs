//! One write of the status file.

use std::io;
use std::path::{Path, PathBuf};

use ops_protocol::status_file::{FileFormat, StatusFile};
use ops_runtime::durable::{FileAccess, LockedFile, Step};
use ops_runtime::errno::remedy;

/// The locked file, and a buffer for its text.
#[derive(Debug)]
pub(super) struct StatusFileWriter {
    file: LockedFile,
    text: String,
}

impl StatusFileWriter {
    pub(super) const fn new(file: LockedFile) -> Self {
        Self { file, text: String::new() }
    }

    pub(super) fn write(&mut self, record: &StatusFile, access: FileAccess) -> Result<(), WriteError> {
        let Self { file, text } = self;
        file.access = access;
        record
            .encode_into(FileFormat::of(&file.path), text)
            .map_err(|error| (Step::Encode, io::Error::other(error)))
            .and_then(|()| file.write(text))
            .map_err(|(step, source)| WriteError { step, path: file.path.clone(), source })
    }
}

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
#[error("status file {} not written ({} failed): {}", path.display(), step.as_str(), remedy(source))]
pub struct WriteError {
    /// The step that failed.
    pub step: Step,
    /// The status file.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

impl WriteError {
    pub(super) fn no_thread(path: &Path, source: io::Error) -> Self {
        Self { step: Step::Begin, path: path.to_owned(), source }
    }
}
