//! One cgroup (version 2) for each start, where the daemon's own cgroup is delegated to it.
//!
//! A process cannot leave its cgroup by a new session, another parent or an empty environment. So the cgroup shows members that
//! nothing else shows, also to the next daemon: its name follows from the secret of the start, which is recorded.
//!
//! ```text
//! the delegated cgroup
//! ├── daemon                 the daemon itself
//! └── agent-DAEMON-NONCE     one start: DAEMON is a hash of the work directory, NONCE that of the start secret
//! ```
//!
//! Everything here blocks, though only on the kernel.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::secret::StartSecret;
use super::table::Key;
use ops_runtime::observe::Stat;

/// The cgroup of the daemon itself.
const LEAF: &str = "daemon";

/// The attributes by which a service manager marks a cgroup as delegated.
const MARKS: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// How many cgroups below one are searched, because an agent may make its own.
const MAX_CGROUPS: usize = 1000;

/// The delegated cgroup of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    directory: PathBuf,
    /// What the names of this daemon's cgroups begin with.
    prefix: String,
}

/// The cgroup of one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup(PathBuf);

impl Cgroups {
    /// Finds the delegated cgroup, moves the daemon into a leaf of it, and removes what an earlier daemon left empty. `hash`
    /// identifies the daemon's work directory. `None`: no cgroup is delegated to the daemon.
    ///
    /// # Errors
    ///
    /// If the delegated cgroup cannot be used.
    pub(crate) fn find(hash: u64) -> io::Result<Option<Self>> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mounts = fs::read("/proc/self/mountinfo")?;
        let Some(own) = own_directory(&own, &mounts) else { return Ok(None) };
        let is_leaf = own.file_name().is_some_and(|name| name == LEAF);
        let parent = own.parent().filter(|_| is_leaf).filter(|parent| is_delegated(parent));
        let Some(directory) = parent.or(Some(own.as_path()).filter(|own| is_delegated(own))) else { return Ok(None) };
        let cgroups = Self { directory: directory.to_owned(), prefix: format!("agent-{hash:016x}-") };
        cgroups.enter_leaf()?;
        cgroups.remove_left()?;
        Ok(Some(cgroups))
    }

    /// Its directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The processes of the delegated cgroup itself may not share it with cgroups below it that have controllers.
    fn enter_leaf(&self) -> io::Result<()> {
        let leaf = self.directory.join(LEAF);
        make(&leaf)?;
        fs::write(leaf.join("cgroup.procs"), "0")
    }

    fn remove_left(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&self.prefix)) {
                Cgroup(entry.path()).remove();
            }
        }
        Ok(())
    }

    /// The cgroup of a start. It need not exist.
    pub(super) fn of(&self, secret: &StartSecret) -> Option<Cgroup> {
        Some(Cgroup(self.directory.join(format!("{}{}", self.prefix, secret.nonce()?))))
    }
}

impl Cgroup {
    /// Makes it with this process in it. It is removed again if that fails.
    pub(super) fn hold(&self, pid: u32) -> io::Result<()> {
        make(&self.0)?;
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).inspect_err(|_| self.remove())
    }

    /// The living processes in it and in the cgroups below it. Without it there are none.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn members(&self) -> io::Result<Vec<Key>> {
        let mut members = Vec::new();
        for cgroup in self.with_those_below() {
            let text = match fs::read_to_string(cgroup.join("cgroup.procs")) {
                Ok(text) => text,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error),
            };
            // Processes of a PID namespace that this one cannot see are all 0.
            let pids = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0);
            members.extend(pids.filter_map(|pid| Some((pid, Stat::of_living(pid)?.start))));
        }
        Ok(members)
    }

    /// Sends SIGKILL to every process in it and in the cgroups below it, also to those that are being forked. `false`: the kernel
    /// cannot do that (before Linux 5.14), or the cgroup is gone.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub(super) fn kill(&self) -> io::Result<bool> {
        // Without `create`: where the kernel has no such file, none is made.
        let written =
            OpenOptions::new().write(true).open(self.0.join("cgroup.kill")).and_then(|mut file| file.write_all(b"1"));
        match written {
            Ok(()) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes it, if no process is left in it.
    pub(super) fn remove(&self) {
        for cgroup in self.with_those_below().iter().rev() {
            // One with processes stays, and the next daemon tries again.
            let _ = fs::remove_dir(cgroup);
        }
    }

    /// Its directory and those below it, each after the one that it is in.
    fn with_those_below(&self) -> Vec<PathBuf> {
        let mut found = vec![self.0.clone()];
        let mut next = 0;
        while let Some(cgroup) = found.get(next) {
            next += 1;
            let Ok(entries) = fs::read_dir(cgroup) else { continue };
            let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let room = MAX_CGROUPS.saturating_sub(found.len());
            let below: Vec<PathBuf> = below.map(|entry| entry.path()).take(room).collect();
            found.extend(below);
        }
        found
    }
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A cgroup that is removed while it is read is `ENODEV`.
fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NODEV))
}

fn is_delegated(directory: &Path) -> bool {
    MARKS.iter().any(|mark| {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(directory, *mark, &mut value);
        length.is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

/// The directory of this process's cgroup, from `/proc/self/cgroup` and `/proc/self/mountinfo`. On a host with both versions of
/// cgroups, the second version has a mount of its own. `None`: it is not mounted, or out of sight.
fn own_directory(own: &str, mounts: &[u8]) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounted = mounts.split(|byte| *byte == b'\n').filter_map(mount);
    let below = |(root, point): (PathBuf, PathBuf)| {
        let path = Path::new(path).strip_prefix(root).ok()?;
        let is_visible = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        is_visible.then(|| point.join(path))
    };
    mounted.filter_map(below).next_back()
}

/// The root and the mount point of a cgroup2 mount, see proc_pid_mountinfo(5).
fn mount(line: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    let is_cgroup2 = fields.get(separator + 1) == Some(&b"cgroup2".as_slice());
    is_cgroup2.then_some((unescaped(fields.get(3)?), unescaped(fields.get(4)?)))
}

/// A path of mountinfo, in which a space is `\040`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()).filter(|_| *first == b'\\');
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                path.push(*first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "30 1 0:26 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory\n\
                          31 1 0:27 / /sys/fs/cgroup/unified rw shared:2 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_directory_is_below_the_mount_of_version_2() {
        let found =
            |own: &str, mounts: &str| own_directory(own, mounts.as_bytes()).map(|path| path.display().to_string());
        let own = "8:memory:/x\n0::/system.slice/ops.service\n";
        assert_eq!(found(own, HYBRID).as_deref(), Some("/sys/fs/cgroup/unified/system.slice/ops.service"));
        let bound = "31 1 0:27 /system.slice /mnt/a\\040b rw - cgroup2 cgroup2 rw\n";
        assert_eq!(found(own, bound).as_deref(), Some("/mnt/a b/ops.service"));
        let elsewhere = "31 1 0:27 /user.slice /mnt rw - cgroup2 cgroup2 rw\n";
        assert_eq!(found(own, elsewhere), None, "the mount does not show it");
        assert_eq!(found("0::/../other\n", HYBRID), None, "outside of the cgroup namespace");
        assert_eq!(found("8:memory:/x\n", HYBRID), None, "no version 2");
        assert_eq!(found(own, "broken\n\n- cgroup2\n"), None);
    }

    #[test]
    fn the_name_of_a_cgroup_takes_nothing_but_hexadecimal_digits_from_a_secret() {
        let cgroups = Cgroups { directory: "/c".into(), prefix: "agent-1-".to_owned() };
        let of = |secret: &str| cgroups.of(&StartSecret::presented(secret)).map(|cgroup| cgroup.0);
        assert_eq!(
            of("0123456789abcdef0123456789abcdef.00"),
            Some("/c/agent-1-0123456789abcdef0123456789abcdef".into())
        );
        for hostile in ["../../etc.00", "", "0123", "0123456789abcdef0123456789abcde/.00"] {
            assert_eq!(of(hostile), None, "{hostile:?}");
        }
    }
}
