//! What an agent prints: its log, which it writes by itself, and the copies of it that are kept.
//!
//! The agent holds the file itself, opened for appending, rather than a pipe to the daemon: so it loses neither its output
//! nor its life when the daemon dies. Since it never opens the file again, renaming would not free it: rotation copies the
//! file and then cuts it to nothing, after which the next line is the first. A line that is written just between the last
//! look and the cut is lost; nothing else is, however rotation ends.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;

use ops_runtime::blocking;

/// The most that [`tail`] reads of a file, in bytes.
const TAIL_BYTES: u64 = 256 * 1024;

/// How much output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The size, in bytes, beyond which a log is rotated. No copy is larger: of a log that grew faster than it was looked
    /// at, the end is kept.
    pub max_bytes: u64,
    /// How many copies are kept: `agent.log.1` is the newest.
    pub copies: u32,
}

impl Default for Rotation {
    /// 40 MiB for each agent at most, of which 10 MiB are at hand at once.
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

/// Opens the log for appending; it and its directory are made for this user alone if missing.
pub(super) fn open(work_dir: &Path) -> io::Result<File> {
    let path = path(work_dir);
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    open_as(&path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)
}

/// Not following a link that somebody put there, nor waiting for the other end of a pipe.
fn open_as(path: &Path, how: OFlags) -> io::Result<File> {
    let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(retry_on_intr(|| rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR))?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("the log is no regular file: remove it")) }
}

/// Rotates the log of the agent in this work directory if it is too large, and tells whether it was.
///
/// # Errors
///
/// If there is no room for a copy, even without the older ones, or no leave to write one. Then nothing is cut.
pub async fn rotate(work_dir: &Path, rotation: Rotation) -> io::Result<bool> {
    let work_dir = work_dir.to_owned();
    blocking::unblock(move || rotate_now(&work_dir, rotation)).await?
}

fn rotate_now(work_dir: &Path, rotation: Rotation) -> io::Result<bool> {
    let mut log = match open_as(&path(work_dir), OFlags::RDWR) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let length = log.metadata()?.len();
    if length <= rotation.max_bytes {
        return Ok(false);
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
                // The newest is worth more than the oldest.
                if !full || !remove_oldest(work_dir, rotation.copies) {
                    return Err(error);
                }
            }
        }
    };
    for number in (1..rotation.copies).rev() {
        absent_is_fine(fs::rename(copy_path(work_dir, number), copy_path(work_dir, number + 1)))?;
    }
    fs::rename(&fresh_path, copy_path(work_dir, 1))?;
    // What was written meanwhile. From here to the cut, a line can be lost.
    io::copy(&mut (&log).take(rotation.max_bytes), &mut fresh)?;
    log.set_len(0)?;
    Ok(true)
}

/// Removes the oldest copy, and tells whether there was one.
fn remove_oldest(work_dir: &Path, copies: u32) -> bool {
    (1..=copies).rev().any(|number| fs::remove_file(copy_path(work_dir, number)).is_ok())
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The last lines that the agent in this work directory printed, oldest first, made fit for a terminal. `from`: where in
/// its log to begin, as by [`Process::output_from`](super::Process::output_from); 0 for all of it.
///
/// # Errors
///
/// If there is a log that cannot be read.
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
    // It was rotated since.
    let from = if length < from { 0 } else { from };
    let begin = from.max(length.saturating_sub(TAIL_BYTES));
    log.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    log.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may be the rest of one.
    let whole = text.lines().skip(usize::from(begin > from));
    let all: Vec<&str> = whole.collect();
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    Ok(last.iter().map(|line| line.replace(|c: char| c.is_control() && c != '\t', "")).collect())
}
