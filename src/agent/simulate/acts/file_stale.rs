//! `file_stale`.

use serde::{Deserialize, Serialize};

use super::behaviour::{FileAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::effects::FileAccess;
use crate::agent::status_file::WriteError;
use ops_protocol::status_file::StatusFile;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_stale",
    sentence: "The status file is not written any more.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The status file is not written any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileStale {}

impl Behaviour for FileStale {
    fn file(&self) -> Option<&dyn FileAct> {
        Some(self)
    }
}

impl FileAct for FileStale {
    fn write<'a>(&'a self, _: &'a FileAccess<'a>, _: StatusFile) -> Local<'a, Result<(), WriteError>> {
        Box::pin(async { Ok(()) })
    }
}
