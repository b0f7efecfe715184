//! Which process is which: by identity, and by the mark that each is started with.

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

/// The variable in the environment of every process that the daemon starts, and of what these start.
const VARIABLE: &str = "OPS_AGENT_SUPERVISED_AS";

/// How often a group is looked through for what was not killed yet: something in it may have forked meanwhile.
const ROUNDS: usize = 8;

/// What a process is started with in its environment, so that a daemon whose predecessor died between starting it and
/// putting that on record still knows it again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SupervisionTag(Arc<[u8]>);

impl SupervisionTag {
    /// The mark of one agent under the daemon at [`home`].
    #[must_use]
    pub fn new(home: &Path, id: &str) -> Self {
        Self([id.as_bytes(), b"@", home.as_os_str().as_bytes()].concat().into())
    }

    pub(super) fn variable(&self) -> (&OsStr, &OsStr) {
        (OsStr::new(VARIABLE), OsStr::from_bytes(&self.0))
    }

    /// The mark of a process. `None`: it has none, or hides its environment.
    fn of(pid: u32) -> Option<Self> {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let is_ours = |line: &[u8]| line.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"=").map(Self::from);
        environment.split(|byte| *byte == 0).find_map(is_ours)
    }
}

/// A daemon's work directory as marks have it: however the configuration names it, as long as it is the same one.
#[must_use]
pub(crate) fn home(work_dir: &Path) -> PathBuf {
    fs::canonicalize(work_dir).or_else(|_| std::path::absolute(work_dir)).unwrap_or_default()
}

impl From<&[u8]> for SupervisionTag {
    fn from(value: &[u8]) -> Self {
        Self(value.into())
    }
}

/// The identity of the living process that has this number now. `None`: there is none.
///
/// # Errors
///
/// If the kernel does not say.
pub fn identity_of(pid: u32) -> io::Result<Option<Identity>> {
    match Stat::of(pid) {
        Ok(stat) if stat.zombie => Ok(None),
        Ok(stat) => Ok(Some(Identity { pid, start_ticks: stat.start, boot: boot()? })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The present boot of the host.
pub(super) fn boot() -> io::Result<BootId> {
    observe::boot_id()?.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Looks through all processes for those that bear one of the marks and lead a group.
///
/// What an agent has started bears its mark too and may lead a group of its own, but is younger: the oldest counts.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub async fn find(marks: HashSet<SupervisionTag>) -> io::Result<HashMap<SupervisionTag, Identity>> {
    blocking::unblock(move || {
        let boot = boot()?;
        let mut found: HashMap<SupervisionTag, Identity> = HashMap::new();
        for (pid, stat) in all()? {
            let Some(mark) = SupervisionTag::of(pid).filter(|mark| stat.group == pid && marks.contains(mark)) else {
                continue;
            };
            let identity = Identity { pid, start_ticks: stat.start, boot };
            let oldest = found.entry(mark).or_insert(identity);
            if identity.start_ticks < oldest.start_ticks {
                *oldest = identity;
            }
        }
        Ok(found)
    })
    .await?
}

/// Kills what is in a group and bears the mark, each by a hold on it that was proved.
pub(super) fn kill_group(group: u32, mark: &SupervisionTag) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let mut killed = false;
        for (pid, _) in all()?.filter(|(_, stat)| stat.group == group) {
            let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            let Ok(held) = pidfd_open(number, PidfdFlags::empty()) else { continue };
            let proved =
                Stat::of(pid).is_ok_and(|stat| stat.group == group) && SupervisionTag::of(pid).as_ref() == Some(mark);
            killed |= proved && pidfd_send_signal(&held, Signal::KILL).is_ok();
        }
        if !killed {
            break;
        }
    }
    Ok(())
}

/// Every process that lives.
fn all() -> io::Result<impl Iterator<Item = (u32, Stat)>> {
    let entries = fs::read_dir("/proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(|pid: u32| Some((pid, Stat::of(pid).ok().filter(|stat| !stat.zombie)?))))
}
