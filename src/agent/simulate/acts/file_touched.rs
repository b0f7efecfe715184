//! `file_touched`.

use std::fs::File;

use serde::{Deserialize, Serialize};

use super::behaviour::{FileAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::effects::FileAccess;
use crate::agent::status_file::WriteError;
use ops_protocol::status_file::StatusFile;
use ops_runtime::clock;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_touched",
    sentence: "The status file gets a new modification time, but no new content.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The status file gets a new modification time, but no new content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTouched {}

impl Behaviour for FileTouched {
    fn file(&self) -> Option<&dyn FileAct> {
        Some(self)
    }
}

impl FileAct for FileTouched {
    fn write<'a>(&'a self, file: &'a FileAccess<'a>, _: StatusFile) -> Local<'a, Result<(), WriteError>> {
        Box::pin(file.change(|path| File::open(path)?.set_modified(clock::wall())))
    }
}
