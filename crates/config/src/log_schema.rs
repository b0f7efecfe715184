//! The keys of an agent's log.

use super::daemon::LogRotation;
use super::key::Reload::Live;
use super::key::key;
use super::numbers::Whole;
use super::scope::Scope;
use super::sizes::{ByteSize, GIB, KIB};

/// Reads the keys of an agent's log.
pub(super) fn log_rotation(item: &Scope<'_>) -> LogRotation {
    let section = item.section("log", "How much output of the agent is kept in `logs` in its `work_dir`.");
    let default = LogRotation::default();
    let max_size = key(
        "max_size",
        ByteSize(64 * KIB, 64 * GIB),
        Live,
        "The size of `agent.log` from which on it is rotated. The sizes are looked at every 15 s.",
    );
    let keep = key(
        "keep",
        Whole(0, 100),
        Live,
        "The number of earlier logs that are kept, `agent.log.1` and so on. 0: the log is emptied instead.",
    );
    LogRotation { max_bytes: section.value(&max_size, default.max_bytes), copies: section.value(&keep, default.copies) }
}
