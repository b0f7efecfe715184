//! `file_deleted`.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::behaviour::{FileAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::effects::FileAccess;
use crate::agent::status_file::WriteError;
use ops_protocol::status_file::StatusFile;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_deleted",
    sentence: "The status file is deleted, and not written any more.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The status file is deleted, and not written any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDeleted {}

impl Behaviour for FileDeleted {
    fn file(&self) -> Option<&dyn FileAct> {
        Some(self)
    }
}

impl FileAct for FileDeleted {
    fn write<'a>(&'a self, file: &'a FileAccess<'a>, _: StatusFile) -> Local<'a, Result<(), WriteError>> {
        Box::pin(file.change(remove))
    }
}

/// Removes the file. One that is missing is removed already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
