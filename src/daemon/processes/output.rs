//! The output of an agent: its log file and the rotated copies.
//!
//! The agent itself holds the file, opened for appending. A pipe to the daemon would lose output, and break the agent, when the
//! daemon dies. The agent never reopens the file, so a rename would not free it. Rotation copies the file and then truncates
//! it. A line that is written between the last copy and the truncation is lost. Nothing else is, even if rotation fails.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::retry_on_intr;

use super::absent_is_fine;
use ops_config::daemon::LogRotation;
use ops_protocol::Timestamp;
use ops_protocol::printable::is_deceptive;
use ops_runtime::{blocking, clock};

/// The number of bytes that [`tail`] reads from the end of a file.
pub(super) const TAIL_BYTES: u64 = 256 * 1024;

/// The size limit of a line that is kept with the exit of a process, in bytes.
const MAX_KEPT_LINE: usize = 512;

/// How the line with the time of a start begins.
pub const MARKER: &str = "=== started by the daemon at ";

pub(super) fn path(work_dir: &Path) -> PathBuf {
    work_dir.join("logs/agent.log")
}

pub(super) const LOG: &str = "agent.log";

/// Where the log is copied to. It then becomes the first copy.
const UNFINISHED: &str = ".agent.log.new";

pub(super) fn copy_name(number: u32) -> String {
    format!("{LOG}.{number}")
}

/// The directory of the logs of an agent. The work directory may belong to another user, who could replace the directory
/// or a file in it by a link, so no link is followed.
pub(super) struct LogDirectory(OwnedFd);

impl LogDirectory {
    pub(super) fn open(work_dir: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(retry_on_intr(|| rustix::fs::open(work_dir.join("logs"), flags, Mode::empty()))?))
    }

    /// Opens a regular file with one name. Does not block on a FIFO.
    pub(super) fn file(&self, name: &str, how: OFlags) -> io::Result<File> {
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(retry_on_intr(open)?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            Err(io::Error::other("the log is not a regular file: remove it"))
        } else if metadata.nlink() > 1 {
            Err(io::Error::other("the log has a second name: remove it"))
        } else {
            Ok(file)
        }
    }

    /// Opens an empty file for writing. It is emptied only once it is known to be a log.
    fn empty_file(&self, name: &str) -> io::Result<File> {
        let file = self.file(name, OFlags::WRONLY | OFlags::CREATE)?;
        file.set_len(0)?;
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }
}

/// Opens the log for appending. A missing file or directory is created for this user alone.
pub(super) fn open(work_dir: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(work_dir.join("logs")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    LogDirectory::open(work_dir)?.file(LOG, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)
}

/// Writes the time of a start to the log, so that the output of one process is told from that of the next.
pub(super) fn mark_start(mut log: &File) {
    let marker = format!("{MARKER}{}\n", Timestamp(clock::wall()));
    // On a full disk the program starts all the same.
    let _ = log.write_all(marker.as_bytes());
}

/// What [`rotate`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// The log is not too large.
    Small(LogFile),
    /// It was rotated.
    Rotated(LogFile),
    /// There is no log. The agent may still write to one that was removed.
    Missing,
}

/// A log at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFile {
    /// Device and inode.
    pub id: (u64, u64),
    /// The size, in bytes.
    pub length: u64,
}

impl LogFile {
    pub(super) fn of(log: &Metadata) -> Self {
        Self { id: (log.dev(), log.ino()), length: log.len() }
    }
}

/// Rotates the logs in these work directories, one after the other, each in its own way. Returns what was found of each.
///
/// # Errors
///
/// If the system refuses a thread.
pub(crate) async fn rotate_all<K: Send + 'static>(
    logs: Vec<(K, PathBuf, LogRotation)>,
) -> io::Result<Vec<(K, io::Result<LogState>)>> {
    let one = |(agent, work_dir, rotation): (K, PathBuf, LogRotation)| (agent, rotate(&work_dir, rotation));
    blocking::unblock(move || logs.into_iter().map(one).collect()).await
}

/// The log, if it is surely not too large. Most are, and two looks cost less than to open and close it. What cannot be told
/// here, the open files tell.
fn small(work_dir: &Path, rotation: LogRotation) -> Option<LogFile> {
    let is_directory = fs::symlink_metadata(work_dir.join("logs")).is_ok_and(|logs| logs.is_dir());
    let log = fs::symlink_metadata(path(work_dir)).ok().filter(|_| is_directory)?;
    let is_small = log.is_file() && log.nlink() == 1 && log.len() <= rotation.max_bytes;
    is_small.then(|| LogFile::of(&log))
}

/// Rotates the log of the agent in this work directory if it is too large. Blocks on the disk.
///
/// # Errors
///
/// If a copy cannot be written for another reason than a full disk. Then nothing is truncated. On a full disk the older copies
/// are removed, and if that is not enough, only the end of the log is kept.
pub fn rotate(work_dir: &Path, rotation: LogRotation) -> io::Result<LogState> {
    if let Some(log) = small(work_dir, rotation) {
        return Ok(LogState::Small(log));
    }
    let opened = LogDirectory::open(work_dir).and_then(|logs| Ok((logs.file(LOG, OFlags::RDWR)?, logs)));
    let (mut log, logs) = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LogState::Missing),
        Err(error) => return Err(error),
    };
    let found = LogFile::of(&log.metadata()?);
    let length = found.length;
    if length <= rotation.max_bytes {
        return Ok(LogState::Small(found));
    }
    let rotated = LogState::Rotated(LogFile { length: 0, ..found });
    if rotation.copies == 0 {
        log.set_len(0)?;
        remove_copies_from(&logs, 1);
        return Ok(rotated);
    }
    let mut fresh = loop {
        log.seek(SeekFrom::Start(length - rotation.max_bytes))?;
        let copied = logs
            .empty_file(UNFINISHED)
            .and_then(|mut fresh| io::copy(&mut (&log).take(rotation.max_bytes), &mut fresh).map(|_| fresh));
        match copied {
            Ok(fresh) => break fresh,
            Err(error) => {
                let _ = logs.remove(UNFINISHED);
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                if !full {
                    return Err(error);
                }
                // The newest output is worth more than the oldest copy.
                if !remove_oldest(&logs, rotation.copies) {
                    return cut(&mut log, &logs).map(|()| rotated);
                }
            }
        }
    };
    for number in (1..rotation.copies).rev() {
        absent_is_fine(logs.rename(&copy_name(number), &copy_name(number + 1)))?;
    }
    logs.rename(UNFINISHED, &copy_name(1))?;
    // What was written during the copy. From here to the truncation, a line can be lost.
    io::copy(&mut (&log).take(rotation.max_bytes), &mut fresh)?;
    log.set_len(0)?;
    // An earlier configuration may have kept more.
    remove_copies_from(&logs, rotation.copies + 1);
    Ok(rotated)
}

/// Removes the copies from this number on, up to the first that is missing.
fn remove_copies_from(logs: &LogDirectory, first: u32) {
    let _ = (first..).find(|number| logs.remove(&copy_name(*number)).is_err());
}

/// Cuts a log that has filled its disk, so that there is no room for a copy. Only its end is kept, in memory meanwhile.
fn cut(log: &mut File, logs: &LogDirectory) -> io::Result<()> {
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut end = Vec::new();
    log.take(TAIL_BYTES).read_to_end(&mut end)?;
    log.set_len(0)?;
    let copied = logs.empty_file(&copy_name(1)).and_then(|copy| (&copy).write_all(&end));
    // Without a copy, the end belongs back into the log.
    copied.or_else(|error| log.write_all(&end).and(Err(error)))
}

/// Removes the oldest copy. Returns whether there was one.
fn remove_oldest(logs: &LogDirectory, copies: u32) -> bool {
    (1..=copies).rev().any(|number| logs.remove(&copy_name(number)).is_ok())
}

/// The last output lines of the agent in this work directory, oldest first, without control characters. `from` is the offset
/// in the log to begin at, as [`Started`](super::start::Started) gives it; 0 includes the newest copy.
///
/// # Errors
///
/// If the log exists and cannot be read.
pub async fn tail(work_dir: &Path, from: u64, lines: usize) -> io::Result<Vec<String>> {
    let work_dir = work_dir.to_owned();
    blocking::unblock(move || {
        let mut tail = tail_of(&work_dir, LOG, from, lines)?;
        if from == 0 && tail.len() < lines {
            let mut earlier = tail_of(&work_dir, &copy_name(1), 0, lines - tail.len())?;
            earlier.append(&mut tail);
            tail = earlier;
        }
        Ok(tail)
    })
    .await?
}

/// What is known of the run of one process, whose output is looked for in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The offset in the log at which its output begins, as [`Started`](super::start::Started) gives it. `None`: not known.
    pub(crate) from: Option<u64>,
    /// When it ended, on the wall clock.
    pub(crate) ended: SystemTime,
}

/// The last output lines of one process, oldest first, without control characters. The lines of later ones are left out.
///
/// # Errors
///
/// If the log exists and cannot be read.
pub(crate) async fn tail_of_run(work_dir: &Path, run: Run, lines: usize) -> io::Result<Vec<String>> {
    let work_dir = work_dir.to_owned();
    blocking::unblock(move || {
        let mut all = tail_of(&work_dir, LOG, run.from.unwrap_or_default(), usize::MAX)?;
        let is_marker = |line: &String| line.starts_with(MARKER);
        if run.from.is_none() {
            let ended = Timestamp(run.ended).to_string();
            // The times have a fixed width, so they compare as text.
            let begins = |line: &String| line.strip_prefix(MARKER).is_some_and(|at| *at <= *ended);
            let first = all.iter().rposition(begins).map_or(0, |marker| marker + 1);
            all.drain(..first);
        }
        all.truncate(all.iter().position(is_marker).unwrap_or(all.len()));
        let mut last = all.split_off(all.len().saturating_sub(lines));
        last.iter_mut().for_each(|line| line.truncate(line.floor_char_boundary(MAX_KEPT_LINE)));
        Ok(last)
    })
    .await?
}

fn tail_of(work_dir: &Path, name: &str, from: u64, lines: usize) -> io::Result<Vec<String>> {
    let mut log = match LogDirectory::open(work_dir).and_then(|logs| logs.file(name, OFlags::RDONLY)) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = log.metadata()?.len();
    // The log was rotated after `from` was taken.
    let from = if length < from { 0 } else { from };
    let begin = from.max(length.saturating_sub(TAIL_BYTES));
    log.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    log.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may be incomplete.
    let whole = text.lines().skip(usize::from(begin > from));
    let all: Vec<&str> = whole.collect();
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    Ok(last.iter().copied().map(printable).collect())
}

/// A line without control characters.
pub(super) fn printable(line: &str) -> String {
    line.replace(|c: char| is_deceptive(c) && c != '\t', "")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_log_without_room_for_a_copy_is_cut_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("logs")).unwrap();
        let line = "0123456789abcde\n";
        let lines = TAIL_BYTES as usize / line.len();
        fs::write(path(directory.path()), "lost\n".repeat(1000) + &line.repeat(lines)).unwrap();
        let logs = LogDirectory::open(directory.path()).unwrap();
        let mut log = logs.file(LOG, OFlags::RDWR).unwrap();
        cut(&mut log, &logs).unwrap();
        assert_eq!(fs::read_to_string(path(directory.path())).unwrap(), "");
        assert_eq!(fs::read_to_string(directory.path().join("logs").join(copy_name(1))).unwrap(), line.repeat(lines));
    }

    #[test]
    fn the_output_of_one_process_is_told_from_that_of_the_next() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("logs")).unwrap();
        let at = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second);
        let marker = |second| format!("{MARKER}{}\n", Timestamp(at(second)));
        let first = format!("{}a1\na2\n", marker(0));
        let second = format!("{}b1\n{}c1\n", marker(10), marker(20));
        fs::write(path(directory.path()), format!("{first}{second}")).unwrap();
        let lines = |from: Option<usize>, ended| {
            let run = Run { from: from.map(|from| from as u64), ended: at(ended) };
            futures_lite::future::block_on(tail_of_run(directory.path(), run, 10)).unwrap()
        };
        assert_eq!(lines(Some(marker(0).len()), 9), ["a1", "a2"]);
        assert_eq!(lines(Some(first.len() + marker(10).len()), 19), ["b1"]);
        assert_eq!(lines(None, 9), ["a1", "a2"], "of a process that an earlier daemon started");
        assert_eq!(lines(None, 15), ["b1"]);
        assert_eq!(lines(None, 99), ["c1"]);
    }

    /// The agent's user owns the work directory, and the daemon may be root.
    #[test]
    fn no_link_in_the_place_of_a_log_is_followed() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (logs, other) = (directory.path().join("logs"), elsewhere.path().join(LOG));
        let rotation = LogRotation { max_bytes: 1, copies: 1 };
        let big = "line\n".repeat(100);
        fs::write(&other, &big).unwrap();
        let refused = |what: &str| {
            assert!(open(directory.path()).is_err(), "{what}");
            assert!(rotate(directory.path(), rotation).is_err(), "{what}");
            assert!(tail_of(directory.path(), LOG, 0, 1).is_err(), "{what}");
            assert_eq!(fs::read_to_string(&other).unwrap(), big, "{what}");
        };
        symlink(elsewhere.path(), &logs).unwrap();
        refused("a directory that is a link");
        fs::remove_file(&logs).unwrap();
        fs::create_dir(&logs).unwrap();
        symlink(&other, logs.join(LOG)).unwrap();
        refused("a log that is a link");
        fs::remove_file(logs.join(LOG)).unwrap();
        fs::hard_link(&other, logs.join(LOG)).unwrap();
        refused("a log with a second name");

        fs::remove_file(logs.join(LOG)).unwrap();
        fs::write(logs.join(LOG), &big).unwrap();
        fs::hard_link(&other, logs.join(UNFINISHED)).unwrap();
        assert!(rotate(directory.path(), rotation).is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), big, "a copy with a second name");
    }
}
