//! What any process on the host can see of an agent without its help: its status file, and its process in `/proc`.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, test_kill_process};

use crate::clock;
use ops_protocol::status_file::{DecodeError, MAX_BYTES, ReadError, StatusFile};
use ops_protocol::verdict::{Liveness, ReaderContext, StatusVerdict, judge};

/// Identifies one process among all that ever ran on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Its process ID, which the kernel will reuse.
    pub pid: u32,
    /// When the kernel started it, in clock ticks since boot. 0 if `/proc` does not show it.
    pub start: u64,
    /// The kernel's ID of the boot. Empty if `/proc` does not show it.
    pub boot_id: String,
    /// The inode of its PID namespace. 0 if `/proc` does not show it.
    pub pid_namespace: u64,
}

impl ProcessIdentity {
    /// This process.
    #[must_use]
    pub fn own() -> Self {
        let pid = std::process::id();
        let start = match liveness(pid) {
            Liveness::Alive { start } => start,
            Liveness::Gone | Liveness::Unproven => 0,
        };
        Self { pid, start, boot_id: boot_id().unwrap_or_default(), pid_namespace: pid_namespace() }
    }
}

/// The kernel's ID of the current boot.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// The inode of this process's PID namespace. 0 if `/proc` does not show it.
#[must_use]
pub fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino())
}

/// Whether a process with this ID is alive, and when it started.
#[must_use]
fn liveness(pid: u32) -> Liveness {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Liveness::Gone;
    };
    match Stat::of(pid) {
        // A zombie keeps its ID and start time, but no longer runs.
        Ok(stat) if stat.zombie => Liveness::Gone,
        Ok(stat) => Liveness::Alive { start: stat.start },
        // A /proc that is missing or hides other users' processes has no entry for a live process either.
        Err(_) => match test_kill_process(number) {
            Err(Errno::SRCH) => Liveness::Gone,
            Ok(()) | Err(_) => Liveness::Unproven,
        },
    }
}

/// The fields of `/proc/PID/stat` that are used here, see proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The process is dead and not reaped yet. A process whose first thread has ended is alive as long as another thread is.
    pub zombie: bool,
    /// The pid of the parent.
    pub parent: u32,
    /// The ID of the process group.
    pub group: u32,
    /// The ID of the session.
    pub session: u32,
    /// The CPU time of all its threads, in clock ticks.
    pub cpu_ticks: u64,
    /// The CPU time of its children that have ended and were waited for, in clock ticks.
    pub children_cpu_ticks: u64,
    /// When the kernel started it, in clock ticks since boot, outside of any time namespace.
    pub start: u64,
    /// The resident memory, in pages.
    pub resident_pages: u64,
}

impl Stat {
    /// The fields of the living process that has this ID now.
    #[must_use]
    pub fn of_living(pid: u32) -> Option<Self> {
        Self::of(pid).ok().filter(|stat| !stat.zombie)
    }

    /// Reads the fields of the process that has this ID now.
    ///
    /// # Errors
    ///
    /// `NotFound` if the process does not exist or is hidden. Otherwise the error of the read.
    pub fn of(pid: u32) -> io::Result<Self> {
        Self::read(CWD, &format!("/proc/{pid}/stat"))
    }

    /// Reads them from this file below a directory.
    pub(crate) fn read(directory: impl AsFd, path: &str) -> io::Result<Self> {
        let mut buffer = [0; STAT_BYTES];
        let text = read_stat(directory, path, &mut buffer)?;
        // Readers in different time namespaces must get the same number.
        let on_host_clock = |stat: Self| Self { start: clock::host_ticks(stat.start), ..stat };
        Self::parse(text)
            .map(on_host_clock)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat has an unknown format"))
    }

    /// The name, field 2, may contain any character, also brackets and spaces. So the fields are counted from the
    /// last bracket.
    fn parse(text: &[u8]) -> Option<Self> {
        // The manual counts fields from 1. The first one here is the manual's third.
        let mut fields = [""; 22];
        let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
        let mut words = std::str::from_utf8(text.get(after_name..)?).ok()?.split_ascii_whitespace();
        for field in &mut fields {
            *field = words.next()?;
        }
        let number = |field: usize| fields[field - 3].parse::<u64>().ok();
        Some(Self {
            zombie: matches!(fields[0], "Z" | "X" | "x") && number(20)? <= 1,
            parent: number(4)?.try_into().ok()?,
            group: number(5)?.try_into().ok()?,
            session: number(6)?.try_into().ok()?,
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            children_cpu_ticks: number(16)?.saturating_add(number(17)?),
            start: number(22)?,
            resident_pages: number(24)?,
        })
    }
}

/// The kernel's letter for the state of a living process, such as `D` for an uninterruptible wait. `None`: it is gone.
#[must_use]
pub fn kernel_state(pid: u32) -> Option<char> {
    let mut buffer = [0; STAT_BYTES];
    let text = read_stat(CWD, &format!("/proc/{pid}/stat"), &mut buffer).ok()?;
    Stat::parse(text).filter(|stat| !stat.zombie)?;
    String::from_utf8_lossy(text).rsplit_once(") ")?.1.chars().next()
}

/// More than `/proc/PID/stat` ever has: 52 numbers and a name.
const STAT_BYTES: usize = 2048;

/// Reads the file with one call, because the kernel gives it whole if there is room.
fn read_stat<'a>(directory: impl AsFd, path: &str, buffer: &'a mut [u8; STAT_BYTES]) -> io::Result<&'a [u8]> {
    let open = || rustix::fs::openat(&directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let read = |file: OwnedFd| retry_on_intr(|| rustix::io::read(&file, &mut *buffer));
    match retry_on_intr(open).and_then(read) {
        Ok(length) => Ok(&buffer[..length]),
        // The process ended between open and read.
        Err(Errno::SRCH) => Err(io::ErrorKind::NotFound.into()),
        Err(error) => Err(error.into()),
    }
}

/// Reads at most [`MAX_BYTES`] of a status file. Never blocks on a pipe.
///
/// # Errors
///
/// [`ReadError`] if there is no valid status file.
pub fn read_status(path: &Path) -> Result<StatusFile, ReadError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())) {
        Ok(fd) => read_open(File::from(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(ReadError::Missing),
        Err(Errno::NXIO | Errno::NODEV) => Err(ReadError::NotAFile),
        Err(error) => Err(ReadError::Unreadable(error.into())),
    }
}

/// As [`read_status`], from an open file.
///
/// # Errors
///
/// As [`read_status`].
pub fn read_open(file: File) -> Result<StatusFile, ReadError> {
    let stat = rustix::fs::fstat(&file).map_err(|error| ReadError::Unreadable(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotAFile);
    }
    let length = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        return Err(ReadError::Corrupt(DecodeError::TooLong(length)));
    }
    let mut bytes = Vec::with_capacity(length + 1);
    // One byte over the limit shows that the file is longer.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(ReadError::Unreadable)?;
    StatusFile::decode(&bytes).map_err(ReadError::Corrupt)
}

/// A status file and the judgement on it.
#[derive(Debug)]
pub struct Observation {
    /// The content of the file, if it can be read.
    pub file: Result<StatusFile, ReadError>,
    /// The judgement.
    pub verdict: StatusVerdict,
}

/// Reads the file, the process that it names and the clocks, and judges.
///
/// `expected` is the pid that must have written the file, if the caller knows it. `max_age` is the maximum age of the
/// file.
#[must_use]
pub fn observe(path: &Path, expected: Option<u32>, max_age: Duration) -> Observation {
    look(path, expected, max_age, false)
}

/// The same with a maximum age that replaces the file's own limit.
#[must_use]
pub fn observe_within(path: &Path, max_age: Duration) -> Observation {
    look(path, None, max_age, true)
}

fn look(path: &Path, expected: Option<u32>, max_age: Duration, ignores_own_limit: bool) -> Observation {
    let file = read_status(path);
    let writer = file.as_ref().map_or(Liveness::Unproven, |file| liveness(file.pid));
    // The clocks are read last. Otherwise a file that is replaced in between would seem to come from the future.
    let reader = ReaderContext {
        writer,
        pid_namespace: pid_namespace(),
        boot_id: boot_id().ok(),
        expected,
        wall: clock::wall(),
        boottime: clock::boottime(),
        max_age,
        ignores_own_limit,
    };
    let verdict = judge(file.as_ref(), &reader);
    Observation { file, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_contain_brackets_and_spaces() {
        let rest = "1 7 5 0 -1 4194304 1 0 0 0 30 12 3 4 20 0 1 0 777 1 99";
        for name in ["(agent)", "(a) Z 1 2)", "(()", "() R (x)"] {
            let alive = Stat {
                zombie: false,
                parent: 1,
                group: 7,
                session: 5,
                cpu_ticks: 42,
                children_cpu_ticks: 7,
                start: 777,
                resident_pages: 99,
            };
            assert_eq!(Stat::parse(format!("42 {name} S {rest}").as_bytes()), Some(alive), "{name}");
            let zombie = Stat { zombie: true, ..alive };
            assert_eq!(Stat::parse(format!("42 {name} Z {rest}").as_bytes()), Some(zombie), "{name}");
            let leaderless = format!("42 {name} Z {}", rest.replace("20 0 1 0", "20 0 3 0"));
            assert_eq!(Stat::parse(leaderless.as_bytes()), Some(alive), "other threads run on");
        }
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"42 (agent) S 1 2"), None);
    }

    #[test]
    fn this_process_is_alive_and_keeps_its_start_time() {
        let own = ProcessIdentity::own();
        assert_ne!(own.start, 0);
        assert_eq!(own, ProcessIdentity::own());
    }
}
