//! What anybody on the host can see of an agent without asking it: its status file, and its process in `/proc`.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, test_kill_process};

use crate::clock;
use ops_protocol::status_file::{DecodeError, MAX_BYTES, ReadError, StatusFile};
use ops_protocol::verdict::{Liveness, ReaderContext, StatusVerdict, judge};

/// Which process this is, among all that ever run on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Its number, which the kernel will give away again.
    pub pid: u32,
    /// When the kernel started it, in clock ticks since boot. 0 if `/proc` does not say.
    pub start: u64,
    /// The boot of the host, as the kernel names it. Empty if `/proc` does not say.
    pub boot_id: String,
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
        Self { pid, start, boot_id: boot_id().unwrap_or_default() }
    }
}

/// The boot of the host, as the kernel names it.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// Whether a process with this number lives, and since when.
#[must_use]
pub fn liveness(pid: u32) -> Liveness {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Liveness::Gone;
    };
    match Stat::of(pid) {
        // A zombie keeps number and start time, but nobody is at home.
        Ok(stat) if stat.zombie => Liveness::Gone,
        Ok(stat) => Liveness::Alive { start: stat.start },
        // A /proc that is missing, or that hides other users' processes, has no entry for the living either.
        Err(_) => match test_kill_process(number) {
            Err(Errno::SRCH) => Liveness::Gone,
            Ok(()) | Err(_) => Liveness::Unproven,
        },
    }
}

/// What `/proc/PID/stat` says of a process, as far as anybody here wants to know, see proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Dead, and only not yet reaped.
    pub zombie: bool,
    /// The process group.
    pub group: u32,
    /// The time that it has had the CPU, in clock ticks, all threads together.
    pub cpu_ticks: u64,
    /// When the kernel started it, in clock ticks since boot, as the host counts them.
    pub start: u64,
    /// Resident memory, in pages.
    pub resident_pages: u64,
}

impl Stat {
    /// Of the process that has this number now.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none, or none that may be seen; else why the kernel does not say.
    pub fn of(pid: u32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).map_err(|error| match Errno::from_io_error(&error) {
            // It ended between open and read.
            Some(Errno::SRCH) => io::ErrorKind::NotFound.into(),
            _ => error,
        })?;
        // Whoever reads it from another time name space has to find the same.
        let on_the_host = |stat: Self| Self { start: clock::ticks_on_the_host(stat.start), ..stat };
        Self::parse(&text)
            .map(on_the_host)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat is not as documented"))
    }

    /// The name, field 2, may hold anything, brackets and spaces included: so everything is counted from the last bracket.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // Counted from 1 in the manual, where the first one here is the third.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
            group: number(5)?.try_into().ok()?,
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            start: number(22)?,
            resident_pages: number(24)?,
        })
    }
}

/// Reads a status file: at most [`MAX_BYTES`] of it, and never waiting for somebody at the other end of a pipe.
///
/// # Errors
///
/// [`ReadError`] tells what is in the way.
pub fn read_status(path: &Path) -> Result<StatusFile, ReadError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())) {
        Ok(fd) => read_open(File::from(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(ReadError::Missing),
        Err(Errno::NXIO | Errno::NODEV) => Err(ReadError::NotAFile),
        Err(error) => Err(ReadError::Unreadable(error.into())),
    }
}

/// As [`read_status`], from a file that is open.
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
    // One byte more than allowed shows that there is more.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(ReadError::Unreadable)?;
    StatusFile::decode(&bytes).map_err(ReadError::Corrupt)
}

/// A file and what is to be thought of it.
#[derive(Debug)]
pub struct Observation {
    /// The file, if it can be read.
    pub file: Result<StatusFile, ReadError>,
    /// What is to be thought of it.
    pub verdict: StatusVerdict,
}

/// Looks at the file, at the process that it names and at the clocks, and judges.
///
/// `expected`: the pid that must have written it, if that is known. `max_age`: how old it may be.
#[must_use]
pub fn observe(path: &Path, expected: Option<u32>, max_age: Duration) -> Observation {
    let file = read_status(path);
    let writer = file.as_ref().map_or(Liveness::Unproven, |file| liveness(file.pid));
    // The clocks come last: a file cannot then be from the future only because it was replaced while we looked.
    let sight = ReaderContext {
        writer,
        boot_id: boot_id().ok(),
        expected,
        wall: clock::wall(),
        boottime: clock::boottime(),
        max_age,
    };
    let verdict = judge(file.as_ref(), &sight);
    Observation { file, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let rest = "1 7 1 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 1 0 777 1 99";
        for name in ["(agent)", "(a) Z 1 2)", "(()", "() R (x)"] {
            let alive = Stat { zombie: false, group: 7, cpu_ticks: 42, start: 777, resident_pages: 99 };
            assert_eq!(Stat::parse(format!("42 {name} S {rest}").as_bytes()), Some(alive), "{name}");
            let zombie = Stat { zombie: true, ..alive };
            assert_eq!(Stat::parse(format!("42 {name} Z {rest}").as_bytes()), Some(zombie), "{name}");
        }
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"42 (agent) S 1 2"), None);
    }

    #[test]
    fn this_process_is_alive_and_its_start_does_not_change() {
        let own = ProcessIdentity::own();
        assert_ne!(own.start, 0);
        assert_eq!(own, ProcessIdentity::own());
    }
}
