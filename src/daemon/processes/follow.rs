//! New lines of an agent's log since an earlier look, across rotations.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use rustix::fs::OFlags;

use super::output::{LOG, LogDirectory, LogFile, TAIL_BYTES, copy_name, printable};
use ops_runtime::blocking;

/// The size limit of what one look returns, in bytes.
const LOOK_BYTES: u64 = 64 * 1024;

/// The number of bytes before a position by which it is found again in the copy of a rotated log.
const SEAM_BYTES: usize = 256;

/// How far a log has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPosition {
    /// The file, and the offset of the first byte that is not read.
    file: LogFile,
    /// The bytes before the offset.
    seam: Vec<u8>,
}

impl LogPosition {
    /// The position as text, for a client that keeps it between two requests.
    pub(crate) fn to_text(&self) -> String {
        let Self { file: LogFile { id: (device, inode), length }, seam } = self;
        let seam: String = seam.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{device}.{inode}.{length}.{seam}")
    }

    /// The position that [`Self::to_text`] wrote. `None`: it is another text.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        let mut number = || parts.next()?.parse().ok();
        let (device, inode, length) = (number()?, number()?, number()?);
        let digits = parts.next().filter(|digits| digits.is_ascii() && digits.len() <= 2 * SEAM_BYTES)?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let seam: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect::<Option<_>>()?;
        Some(Self { file: LogFile { id: (device, inode), length }, seam })
    }
}

/// What a look at a log has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutput {
    /// Whole lines, oldest first, without control characters.
    pub lines: Vec<String>,
    /// Whether output between the earlier look and these lines was skipped, because there was too much of it.
    pub skipped: bool,
    /// Where the next look begins. `None`: there is no log.
    pub next: Option<LogPosition>,
}

/// The lines after `position` of the agent in this work directory, or the last `lines` lines without a position.
///
/// # Errors
///
/// If the log exists and cannot be read.
pub(crate) async fn follow(work_dir: &Path, position: Option<LogPosition>, lines: usize) -> io::Result<NewOutput> {
    let work_dir = work_dir.to_owned();
    blocking::unblock(move || look(&work_dir, position, lines)).await?
}

fn look(work_dir: &Path, position: Option<LogPosition>, lines: usize) -> io::Result<NewOutput> {
    let opened = LogDirectory::open(work_dir).and_then(|logs| Ok((logs.file(LOG, OFlags::RDONLY)?, logs)));
    let (mut log, logs) = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(NewOutput { lines: Vec::new(), skipped: false, next: position });
        }
        Err(error) => return Err(error),
    };
    let now = LogFile::of(&log.metadata()?);
    let Some(LogPosition { file, seam }) = position else { return last(&mut log, now, lines) };
    let is_same = now.id == file.id && now.length >= file.length;
    let (from, rest) = if is_same { (file.length, None) } else { (0, Some(rest_of_copy(&logs, &seam)?)) };
    let seam = if is_same { seam } else { Vec::new() };
    let mut found = read_from(&mut log, now, from, seam)?;
    if let Some((mut earlier, complete)) = rest {
        earlier.append(&mut found.lines);
        found.lines = earlier;
        found.skipped |= !complete;
    }
    Ok(found)
}

/// The last lines, which end at the last line break.
fn last(log: &mut File, now: LogFile, lines: usize) -> io::Result<NewOutput> {
    let begin = now.length.saturating_sub(TAIL_BYTES);
    let mut found = read_limited(log, now, begin, Vec::new(), TAIL_BYTES)?;
    let first = usize::from(begin > 0).max(found.lines.len().saturating_sub(lines));
    found.lines.drain(..first.min(found.lines.len()));
    Ok(NewOutput { skipped: false, ..found })
}

/// The whole lines from this offset on. Of too much output, the end.
fn read_from(log: &mut File, now: LogFile, from: u64, seam: Vec<u8>) -> io::Result<NewOutput> {
    if now.length - from <= LOOK_BYTES {
        return read_limited(log, now, from, seam, LOOK_BYTES);
    }
    let mut found = read_limited(log, now, now.length - LOOK_BYTES, Vec::new(), LOOK_BYTES)?;
    if found.lines.len() > 1 {
        // The first line may be incomplete.
        found.lines.remove(0);
    }
    Ok(NewOutput { skipped: true, ..found })
}

fn read_limited(log: &mut File, now: LogFile, from: u64, mut seam: Vec<u8>, limit: u64) -> io::Result<NewOutput> {
    log.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    log.take(limit).read_to_end(&mut bytes)?;
    // A line without an end waits for it, unless it is longer than a look.
    let is_full = u64::try_from(bytes.len()).is_ok_and(|read| read >= limit);
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.truncate(if whole == 0 && is_full { bytes.len() } else { whole });
    let length = from + u64::try_from(bytes.len()).unwrap_or_default();
    seam.extend_from_slice(&bytes);
    seam.drain(..seam.len().saturating_sub(SEAM_BYTES));
    let next = LogPosition { file: LogFile { length, ..now }, seam };
    Ok(NewOutput { lines: lines_of(&bytes), skipped: false, next: Some(next) })
}

/// The lines after the seam in the newest copy, to which the log was rotated, and whether they are all.
fn rest_of_copy(logs: &LogDirectory, seam: &[u8]) -> io::Result<(Vec<String>, bool)> {
    let mut copy = match logs.file(&copy_name(1), OFlags::RDONLY) {
        Ok(copy) => copy,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), seam.is_empty())),
        Err(error) => return Err(error),
    };
    let length = copy.metadata()?.len();
    copy.seek(SeekFrom::Start(length.saturating_sub(LOOK_BYTES)))?;
    let mut bytes = Vec::new();
    copy.take(LOOK_BYTES).read_to_end(&mut bytes)?;
    if seam.is_empty() {
        return Ok((Vec::new(), true));
    }
    let at = bytes.windows(seam.len()).rposition(|window| window == seam);
    Ok(at.map_or((Vec::new(), false), |at| (lines_of(bytes.get(at + seam.len()..).unwrap_or_default()), true)))
}

fn lines_of(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;

    use super::super::output::{path, rotate};
    use super::*;
    use ops_config::daemon::LogRotation;

    struct Log(tempfile::TempDir);

    impl Log {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("logs")).unwrap();
            Self(directory)
        }

        fn write(&self, text: &str) {
            let log = OpenOptions::new().append(true).create(true).open(path(self.0.path()));
            log.unwrap().write_all(text.as_bytes()).unwrap();
        }

        fn look(&self, position: Option<LogPosition>) -> NewOutput {
            look(self.0.path(), position, 2).unwrap()
        }
    }

    #[test]
    fn a_look_returns_the_whole_lines_since_the_last_one() {
        let log = Log::new();
        let none = log.look(None);
        assert_eq!((none.lines.len(), none.next), (0, None), "there is no log yet");
        log.write("one\ntwo\nthree\nfo");
        let first = log.look(None);
        assert_eq!(first.lines, ["two", "three"]);
        assert_eq!(log.look(first.next.clone()).lines, [""; 0], "`fo` has no end yet");
        log.write("ur\n\x1b[2Jfive\n");
        assert_eq!(log.look(first.next).lines, ["four", "[2Jfive"]);
    }

    #[test]
    fn a_position_outlives_its_text_and_other_texts_are_none() {
        let log = Log::new();
        log.write("one\ntwo\n");
        let position = log.look(None).next.unwrap();
        assert_eq!(LogPosition::from_text(&position.to_text()), Some(position));
        for text in
            ["", "1.2.3", "1.2.3.abc", "1.2.3.zz", "1.2.3.ää", "-1.2.3.", &format!("1.2.3.{}", "0".repeat(2000))]
        {
            assert_eq!(LogPosition::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_rotated_log_loses_no_line() {
        let log = Log::new();
        log.write(&"0123456789abcde\n".repeat(100));
        let position = log.look(None).next;
        log.write("two\nthree\n");
        rotate(log.0.path(), LogRotation { max_bytes: 1000, copies: 1 }).unwrap();
        log.write("four\n");
        let found = log.look(position);
        assert_eq!((found.lines, found.skipped), (["two", "three", "four"].map(str::to_owned).to_vec(), false));
    }

    #[test]
    fn of_too_much_output_the_end_is_returned_and_the_gap_is_told() {
        let log = Log::new();
        log.write("one\n");
        let position = log.look(None).next;
        log.write(&"0123456789abcde\n".repeat(10_000));
        let found = log.look(position);
        assert!(found.skipped && found.lines.len() < 5_000, "{} lines", found.lines.len());
        assert!(found.lines.iter().all(|line| line == "0123456789abcde"), "whole lines only");
        assert_eq!(log.look(found.next).lines, [""; 0]);
    }

    #[test]
    fn a_log_that_another_program_has_emptied_is_read_from_its_beginning() {
        let log = Log::new();
        log.write("one\ntwo\n");
        let position = log.look(None).next;
        fs::write(path(log.0.path()), "new\n").unwrap();
        let found = log.look(position);
        assert_eq!((found.lines, found.skipped), (vec!["new".to_owned()], true));
    }
}
