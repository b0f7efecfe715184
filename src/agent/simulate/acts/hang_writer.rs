//! `hang_writer`.

use serde::{Deserialize, Serialize};

use super::behaviour::{FileAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::effects::FileAccess;
use crate::agent::status_file::WriteError;
use ops_protocol::status_file::StatusFile;

pub(super) const INFO: ActInfo = ActInfo {
    name: "hang_writer",
    sentence: "Writes of the status file hang, as on a disk that does not answer.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Writes of the status file hang, as on a disk that does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HangWriter {}

impl Behaviour for HangWriter {
    fn file(&self) -> Option<&dyn FileAct> {
        Some(self)
    }
}

impl FileAct for HangWriter {
    fn write<'a>(&'a self, file: &'a FileAccess<'a>, record: StatusFile) -> Local<'a, Result<(), WriteError>> {
        Box::pin(async move {
            file.ended().await;
            file.write(record).await
        })
    }
}
