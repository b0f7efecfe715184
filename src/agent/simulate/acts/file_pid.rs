//! `file_pid`.

use serde::{Deserialize, Serialize};

use super::behaviour::{FileAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::FileAccess;
use crate::agent::simulate::values::Within;
use crate::agent::status_file::WriteError;
use ops_protocol::status_file::StatusFile;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_pid",
    sentence: "The status file names another process.",
    parameters: &[Parameter { name: "pid", values: "1 to 4194304", default: "1" }],
    timing: Timing::Lasts,
};

/// The status file names another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilePid {
    /// The pid.
    pub pid: Within<1, 4_194_304>,
}

impl Default for FilePid {
    fn default() -> Self {
        Self { pid: Within::nearest(1) }
    }
}

impl Behaviour for FilePid {
    fn file(&self) -> Option<&dyn FileAct> {
        Some(self)
    }
}

impl FileAct for FilePid {
    fn write<'a>(&'a self, file: &'a FileAccess<'a>, mut record: StatusFile) -> Local<'a, Result<(), WriteError>> {
        record.pid = u32::try_from(self.pid.get()).unwrap_or(u32::MAX);
        Box::pin(file.write(record))
    }
}
