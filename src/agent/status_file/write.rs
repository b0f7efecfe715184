//! One write, from the record to the disk.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ops_protocol::status_file::{FileFormat, StatusFile};
use ops_runtime::durable::{LockedFile, Step};
use ops_runtime::errno::remedy;

/// The place of the file, and a buffer for its text.
#[derive(Debug)]
pub(super) struct StatusFileWriter {
    place: LockedFile,
    text: String,
}

impl StatusFileWriter {
    pub(super) const fn new(place: LockedFile) -> Self {
        Self { place, text: String::new() }
    }

    pub(super) fn write(&mut self, record: &StatusFile) -> Result<(), WriteError> {
        let Self { place, text } = self;
        record
            .encode_into(FileFormat::of(&place.path), text)
            .map_err(|error| (Step::Encode, io::Error::other(error)))
            .and_then(|()| place.write(text))
            .map_err(|(step, source)| WriteError { step, path: place.path.clone(), source })
    }
}

/// Why a record is not on disk.
#[derive(Debug)]
pub struct WriteError {
    /// What failed.
    pub step: Step,
    /// The status file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl WriteError {
    pub(super) fn before_it_began(path: &Path, source: io::Error) -> Self {
        Self { step: Step::Begin, path: path.to_owned(), source }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, path, source } = self;
        write!(f, "status file {} not written ({} failed): {}", path.display(), step.as_str(), remedy(source))
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
