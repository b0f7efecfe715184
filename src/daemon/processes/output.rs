//! The output of an agent: its log file and the rotated copies.
//!
//! The agent itself holds the file, opened for appending. A pipe to the daemon would lose output, and break the agent, when the
//! daemon dies. The agent never reopens the file, so a rename would not free it. Rotation copies the file and then truncates
//! it. A line that is written between the last copy and the truncation is lost. Nothing else is, even if rotation fails.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;

use super::absent_is_fine;
use ops_protocol::Timestamp;
use ops_runtime::{blocking, clock};

/// The number of bytes that [`tail`] reads from the end of a file.
const TAIL_BYTES: u64 = 256 * 1024;

/// How the line with the time of a start begins.
pub const MARKER: &str = "=== started by the daemon at ";

/// How much output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The size, in bytes, above which a log is rotated. No copy is larger: of a log that grew faster, the end is kept.
    pub max_bytes: u64,
    /// The number of copies. `agent.log.1` is the newest.
    pub copies: u32,
}

impl Default for Rotation {
    /// At most 40 MiB for each agent: the log and three copies of 10 MiB.
    fn default() -> Self {
        Self { max_bytes: 10 * 1024 * 1024, copies: 3 }
    }
}

pub(super) fn path(work_dir: &Path) -> PathBuf {
    work_dir.join("logs/agent.log")
}

fn copy_path(work_dir: &Path, number: u32) -> PathBuf {
    work_dir.join(format!("logs/agent.log.{number}"))
}

/// Opens the log for appending. A missing file or directory is created for this user alone.
pub(super) fn open(work_dir: &Path) -> io::Result<File> {
    let path = path(work_dir);
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    open_as(&path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)
}

/// Writes the time of a start to the log, so that the output of one process is told from that of the next.
pub(super) fn mark_start(mut log: &File) {
    let marker = format!("{MARKER}{}\n", Timestamp(clock::wall()));
    // On a full disk the program starts all the same.
    let _ = log.write_all(marker.as_bytes());
}

/// Opens a regular file. Does not follow a link, and does not block on a FIFO.
fn open_as(path: &Path, how: OFlags) -> io::Result<File> {
    let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(retry_on_intr(|| rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR))?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("the log is not a regular file: remove it"))
    }
}

/// What [`rotate`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// The log is not too large.
    Small,
    /// It was rotated.
    Rotated,
    /// There is no log. The agent may still write to one that was removed.
    Missing,
}

/// Rotates the log of the agent in this work directory if it is too large.
///
/// # Errors
///
/// If a copy cannot be written for another reason than a full disk. Then nothing is truncated. On a full disk the older copies
/// are removed, and if that is not enough, only the end of the log is kept.
pub async fn rotate(work_dir: &Path, rotation: Rotation) -> io::Result<LogState> {
    let work_dir = work_dir.to_owned();
    blocking::unblock(move || rotate_now(&work_dir, rotation)).await?
}

fn rotate_now(work_dir: &Path, rotation: Rotation) -> io::Result<LogState> {
    let mut log = match open_as(&path(work_dir), OFlags::RDWR) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LogState::Missing),
        Err(error) => return Err(error),
    };
    let length = log.metadata()?.len();
    if length <= rotation.max_bytes {
        return Ok(LogState::Small);
    }
    let fresh_path = work_dir.join("logs/.agent.log.new");
    let mut fresh = loop {
        log.seek(SeekFrom::Start(length - rotation.max_bytes))?;
        let copied = open_as(&fresh_path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)
            .and_then(|mut fresh| io::copy(&mut (&log).take(rotation.max_bytes), &mut fresh).map(|_| fresh));
        match copied {
            Ok(fresh) => break fresh,
            Err(error) => {
                let _ = fs::remove_file(&fresh_path);
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                if !full {
                    return Err(error);
                }
                // The newest output is worth more than the oldest copy.
                if !remove_oldest(work_dir, rotation.copies) {
                    return cut(&mut log, work_dir).map(|()| LogState::Rotated);
                }
            }
        }
    };
    for number in (1..rotation.copies).rev() {
        absent_is_fine(fs::rename(copy_path(work_dir, number), copy_path(work_dir, number + 1)))?;
    }
    fs::rename(&fresh_path, copy_path(work_dir, 1))?;
    // What was written during the copy. From here to the truncation, a line can be lost.
    io::copy(&mut (&log).take(rotation.max_bytes), &mut fresh)?;
    log.set_len(0)?;
    Ok(LogState::Rotated)
}

/// Cuts a log that has filled its disk, so that there is no room for a copy. Only its end is kept, in memory meanwhile.
fn cut(log: &mut File, work_dir: &Path) -> io::Result<()> {
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut end = Vec::new();
    log.take(TAIL_BYTES).read_to_end(&mut end)?;
    log.set_len(0)?;
    let copied = open_as(&copy_path(work_dir, 1), OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)
        .and_then(|copy| (&copy).write_all(&end));
    // Without a copy, the end belongs back into the log.
    copied.or_else(|error| log.write_all(&end).and(Err(error)))
}

/// Removes the oldest copy. Returns whether there was one.
fn remove_oldest(work_dir: &Path, copies: u32) -> bool {
    (1..=copies).rev().any(|number| fs::remove_file(copy_path(work_dir, number)).is_ok())
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
        let mut tail = tail_of(&path(&work_dir), from, lines)?;
        if from == 0 && tail.len() < lines {
            let mut earlier = tail_of(&copy_path(&work_dir, 1), 0, lines - tail.len())?;
            earlier.append(&mut tail);
            tail = earlier;
        }
        Ok(tail)
    })
    .await?
}

fn tail_of(path: &Path, from: u64, lines: usize) -> io::Result<Vec<String>> {
    let mut log = match open_as(path, OFlags::RDONLY) {
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
    Ok(last.iter().map(|line| line.replace(|c: char| c.is_control() && c != '\t', "")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_room_for_a_copy_is_cut_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("logs")).unwrap();
        let line = "0123456789abcde\n";
        let lines = TAIL_BYTES as usize / line.len();
        fs::write(path(directory.path()), "lost\n".repeat(1000) + &line.repeat(lines)).unwrap();
        let mut log = open_as(&path(directory.path()), OFlags::RDWR).unwrap();
        cut(&mut log, directory.path()).unwrap();
        assert_eq!(fs::read_to_string(path(directory.path())).unwrap(), "");
        assert_eq!(fs::read_to_string(copy_path(directory.path(), 1)).unwrap(), line.repeat(lines));
    }
}
