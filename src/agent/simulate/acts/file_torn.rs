//! `file_torn`.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::behaviour::{FileAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::effects::FileAccess;
use crate::agent::status_file::WriteError;
use ops_protocol::status_file::{FileFormat, StatusFile};

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_torn",
    sentence: "Only the first half of the status file is written.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Only the first half of the status file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTorn {}

impl Behaviour for FileTorn {
    fn file(&self) -> Option<&dyn FileAct> {
        Some(self)
    }
}

impl FileAct for FileTorn {
    fn write<'a>(&'a self, file: &'a FileAccess<'a>, record: StatusFile) -> Local<'a, Result<(), WriteError>> {
        Box::pin(file.change(move |path| {
            let text = record.encode(FileFormat::of(path)).map_err(io::Error::other)?;
            fs::write(path, text.as_bytes().get(..text.len() / 2).unwrap_or_default())
        }))
    }
}
