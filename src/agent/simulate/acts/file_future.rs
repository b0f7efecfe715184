//! `file_future`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::{FileAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::effects::FileAccess;
use crate::agent::simulate::values;
use crate::agent::status_file::WriteError;
use ops_protocol::Timestamp;
use ops_protocol::status_file::StatusFile;

pub(super) const INFO: ActInfo = ActInfo {
    name: "file_future",
    sentence: "The times in the status file are ahead of the clock.",
    parameters: &[Parameter { name: "by", values: "a duration", default: "`1h`" }],
    timing: Timing::Lasts,
};

/// The times in the status file are ahead of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileFuture {
    /// How far ahead.
    #[serde(with = "values::duration")]
    pub by: Duration,
}

impl Default for FileFuture {
    fn default() -> Self {
        Self { by: Duration::from_secs(3600) }
    }
}

impl Behaviour for FileFuture {
    fn file(&self) -> Option<&dyn FileAct> {
        Some(self)
    }
}

impl FileAct for FileFuture {
    fn write<'a>(&'a self, file: &'a FileAccess<'a>, mut record: StatusFile) -> Local<'a, Result<(), WriteError>> {
        record.updated_at = Timestamp(record.updated_at.0 + self.by);
        record.valid_until = Timestamp(record.valid_until.0 + self.by);
        let nanos = u64::try_from(self.by.as_nanos()).unwrap_or(u64::MAX);
        record.updated_boottime_ns = record.updated_boottime_ns.saturating_add(nanos);
        Box::pin(file.write(record))
    }
}
