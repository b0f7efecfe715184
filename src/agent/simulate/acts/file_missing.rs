//! `file_missing`.

use std::time::Duration;

use async_io::Timer;
use serde::{Deserialize, Serialize};

use super::behaviour::{FileAct, Local};
use super::file_deleted::remove;
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::FileAccess;
use crate::agent::simulate::values::Within;
use crate::agent::status_file::WriteError;
use ops_protocol::status_file::StatusFile;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_missing",
    sentence: "Before each write, the status file is missing for a moment.",
    parameters: &[Parameter { name: "gap_ms", values: "10 to 900", default: "300" }],
    timing: Timing::Lasts,
};

/// Before each write, the status file is missing for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileMissing {
    /// How long it is missing, in milliseconds.
    pub gap_ms: Within<10, 900>,
}

impl Default for FileMissing {
    fn default() -> Self {
        Self { gap_ms: Within::nearest(300) }
    }
}

impl Behaviour for FileMissing {
    fn file(&self) -> Option<&dyn FileAct> {
        Some(self)
    }
}

impl FileAct for FileMissing {
    fn write<'a>(&'a self, file: &'a FileAccess<'a>, record: StatusFile) -> Local<'a, Result<(), WriteError>> {
        Box::pin(async move {
            file.change(remove).await?;
            Timer::after(Duration::from_millis(self.gap_ms.get())).await;
            file.write(record).await
        })
    }
}
