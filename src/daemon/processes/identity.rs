//! Tells processes apart. A pid alone proves nothing, because it is reused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use statemachine::supervision::{BootId, Identity};

use ops_runtime::observe::{self, Stat};

/// A daemon's work directory, the same for every way to write the path.
#[must_use]
pub(crate) fn canonical_work_dir(work_dir: &Path) -> PathBuf {
    fs::canonicalize(work_dir).or_else(|_| std::path::absolute(work_dir)).unwrap_or_default()
}

/// The identity of the living process that has this pid now. `None`: there is none.
///
/// # Errors
///
/// If `/proc` cannot be read, or hides a process that exists (hidepid).
pub fn identity_of(pid: u32) -> io::Result<Option<Identity>> {
    match Stat::of(pid) {
        Ok(stat) if stat.zombie => Ok(None),
        Ok(stat) => Ok(Some(Identity { pid, start_ticks: stat.start, boot: current_boot()? })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match exists(pid) {
            true => Err(io::Error::other(format!("/proc hides pid {pid}, which exists: run the daemon as root"))),
            false => Ok(None),
        },
        Err(error) => Err(error),
    }
}

/// Whether a process has this pid that is not dead yet, whether `/proc` shows it or not.
fn exists(pid: u32) -> bool {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    // It may have appeared since it was looked for.
    !matches!(test_kill_process(number), Err(Errno::SRCH)) && !matches!(Stat::of(pid), Ok(stat) if stat.zombie)
}

/// The current boot of the host.
pub(super) fn current_boot() -> io::Result<BootId> {
    observe::boot_id()?.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
