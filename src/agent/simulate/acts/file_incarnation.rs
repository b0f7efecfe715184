//! `file_incarnation`.

use serde::{Deserialize, Serialize};

use super::behaviour::{FileAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::FileAccess;
use crate::agent::simulate::values::Within;
use crate::agent::status_file::WriteError;
use ops_protocol::status_file::StatusFile;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_incarnation",
    sentence: "The status file has an earlier incarnation.",
    parameters: &[Parameter { name: "back", values: "1 to 1000000", default: "1" }],
    timing: Timing::Lasts,
};

/// The status file has an earlier incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileIncarnation {
    /// How many starts earlier.
    pub back: Within<1, 1_000_000>,
}

impl Default for FileIncarnation {
    fn default() -> Self {
        Self { back: Within::nearest(1) }
    }
}

impl Behaviour for FileIncarnation {
    fn file(&self) -> Option<&dyn FileAct> {
        Some(self)
    }
}

impl FileAct for FileIncarnation {
    fn write<'a>(&'a self, file: &'a FileAccess<'a>, mut record: StatusFile) -> Local<'a, Result<(), WriteError>> {
        record.incarnation = record.incarnation.saturating_sub(self.back.get());
        Box::pin(file.write(record))
    }
}
