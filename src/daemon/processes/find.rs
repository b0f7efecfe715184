//! Tells processes apart: by their identity, and by the tag that each is started with.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use statemachine::supervision::{BootId, Identity};

use ops_runtime::blocking;
use ops_runtime::observe::{self, Stat};

/// The environment variable that carries the tag. Children inherit it.
const VARIABLE: &str = "OPS_AGENT_SUPERVISED_AS";

/// How many times a group is searched for processes that are still to be killed: a member may fork during a search.
const KILL_ROUNDS: usize = 8;

/// Names the agent and the daemon's work directory in the environment of a process. If a daemon dies between the start of a
/// process and the record of it, the next daemon finds the process by this tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SupervisionTag(Arc<[u8]>);

impl SupervisionTag {
    /// The tag of one agent of the daemon whose work directory is `home`, as [`canonical_work_dir`] gives it.
    #[must_use]
    pub fn new(home: &Path, id: &str) -> Self {
        Self([id.as_bytes(), b"@", home.as_os_str().as_bytes()].concat().into())
    }

    pub(super) fn variable(&self) -> (&OsStr, &OsStr) {
        (OsStr::new(VARIABLE), OsStr::from_bytes(&self.0))
    }

    /// The tag of a process. `None`: it has none, or its environment cannot be read.
    fn of(pid: u32) -> Option<Self> {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let is_ours = |line: &[u8]| line.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"=").map(Self::from);
        environment.split(|byte| *byte == 0).find_map(is_ours)
    }
}

/// A daemon's work directory as tags name it: the same for every way to write the path.
#[must_use]
pub(crate) fn canonical_work_dir(work_dir: &Path) -> PathBuf {
    fs::canonicalize(work_dir).or_else(|_| std::path::absolute(work_dir)).unwrap_or_default()
}

impl From<&[u8]> for SupervisionTag {
    fn from(value: &[u8]) -> Self {
        Self(value.into())
    }
}

/// The identity of the living process that has this pid now. `None`: there is none.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub fn identity_of(pid: u32) -> io::Result<Option<Identity>> {
    match Stat::of(pid) {
        Ok(stat) if stat.zombie => Ok(None),
        Ok(stat) => Ok(Some(Identity { pid, start_ticks: stat.start, boot: current_boot()? })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The current boot of the host.
pub(super) fn current_boot() -> io::Result<BootId> {
    observe::boot_id()?.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Searches all processes for group leaders that carry one of the tags.
///
/// A child of an agent inherits the tag and may lead a group of its own, but it is younger. The oldest process counts.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub async fn find(tags: HashSet<SupervisionTag>) -> io::Result<HashMap<SupervisionTag, Identity>> {
    blocking::unblock(move || {
        let boot = current_boot()?;
        let mut found: HashMap<SupervisionTag, Identity> = HashMap::new();
        for (pid, stat) in living_processes()? {
            let Some(tag) = SupervisionTag::of(pid).filter(|tag| stat.group == pid && tags.contains(tag)) else {
                continue;
            };
            let identity = Identity { pid, start_ticks: stat.start, boot };
            let oldest = found.entry(tag).or_insert(identity);
            if identity.start_ticks < oldest.start_ticks {
                *oldest = identity;
            }
        }
        Ok(found)
    })
    .await?
}

/// Kills the members of a group that carry the tag. Each is checked again after its pidfd is open, so the pid cannot have been
/// reused.
pub(super) fn kill_group(group: u32, tag: &SupervisionTag) -> io::Result<()> {
    for _ in 0..KILL_ROUNDS {
        let mut killed = false;
        for (pid, _) in living_processes()?.filter(|(_, stat)| stat.group == group) {
            let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            let Ok(pidfd) = pidfd_open(number, PidfdFlags::empty()) else { continue };
            let proved =
                Stat::of(pid).is_ok_and(|stat| stat.group == group) && SupervisionTag::of(pid).as_ref() == Some(tag);
            killed |= proved && pidfd_send_signal(&pidfd, Signal::KILL).is_ok();
        }
        if !killed {
            break;
        }
    }
    Ok(())
}

/// Every living process with its `/proc/PID/stat`.
fn living_processes() -> io::Result<impl Iterator<Item = (u32, Stat)>> {
    let entries = fs::read_dir("/proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(|pid: u32| Some((pid, Stat::of(pid).ok().filter(|stat| !stat.zombie)?))))
}
