//! The evidence of a simulated agent: an append-only log with one JSON object per line.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

use ops_runtime::clock;
use ops_runtime::observe::Stat;
use ops_runtime::paths::absolute;

/// One line: which process did what, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceLine {
    /// The process.
    pub pid: u32,
    /// When the kernel started the process, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub process_start: u64,
    /// The number of this start of the agent, counted from 1.
    pub life: u64,
    /// `CLOCK_BOOTTIME` in seconds.
    pub boottime: f64,
    /// `CLOCK_MONOTONIC` in seconds.
    pub monotonic: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: EvidenceEvent,
}

/// What a simulated agent did, or what happened to it. Each line is written before the act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EvidenceEvent {
    /// The process has started.
    Start,
    /// The agent is Running or Degraded for the first time.
    Ready,
    /// A step begins.
    Begin {
        /// Its index in the plan, counted from 0.
        step: usize,
        /// The name of its act.
        act: String,
    },
    /// A step is over.
    End {
        /// Its index in the plan.
        step: usize,
        /// The name of its act.
        act: String,
    },
    /// A step cannot be carried out.
    Failed {
        /// Its index in the plan.
        step: usize,
        /// The name of its act.
        act: String,
        /// Why.
        error: String,
    },
    /// The agent has started a process that belongs to a step.
    Child {
        /// The index of the step.
        step: usize,
        /// The name of its act.
        act: String,
        /// The process.
        child: u32,
    },
    /// A signal has arrived.
    Signal {
        /// Its name, such as `SIGTERM`.
        signal: String,
    },
    /// The process exits by itself, with this code.
    Exit {
        /// The exit code.
        code: u8,
    },
}

/// The size limit of an evidence log at a start, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// The maximum number of lines of one process.
const MAX_LINES: u32 = 100_000;
/// How long another start may hold the lock of the log.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the lock is tried.
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// The open log of this process.
pub(super) struct Evidence {
    file: File,
    path: PathBuf,
    process_start: u64,
    life: u64,
    lines: AtomicU32,
}

impl Evidence {
    /// Opens the log, counts the starts in it, and notes this one. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be used. The text says what to do.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let path = absolute(path);
        let explain = |error: io::Error| {
            io::Error::new(error.kind(), format!("the evidence log {} cannot be used: {error}", path.display()))
        };
        let mut options = File::options();
        let file = options.create(true).read(true).append(true).open(&path).map_err(explain)?;
        lock(&file).map_err(explain)?;
        let life = lives(&file).map_err(explain)? + 1;
        let process_start = Stat::of(std::process::id()).map_err(explain)?.start;
        let evidence = Self { file, path: path.clone(), process_start, life, lines: AtomicU32::new(0) };
        evidence.write(EvidenceEvent::Start).map_err(explain)?;
        flock(&evidence.file, FlockOperation::Unlock)?;
        Ok(evidence)
    }

    pub(super) const fn life(&self) -> u64 {
        self.life
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line. A failure is logged: the agent goes on.
    pub(super) fn note(&self, event: EvidenceEvent) {
        if self.lines.fetch_add(1, Ordering::Relaxed) >= MAX_LINES {
            return;
        }
        if let Err(error) = self.write(event) {
            tracing::error!(%error, "evidence not written: check the disk of the log");
        }
    }

    /// Writes a line with one write(2), so that the lines of several threads and processes do not mix.
    fn write(&self, event: EvidenceEvent) -> io::Result<()> {
        let line = EvidenceLine {
            pid: std::process::id(),
            process_start: self.process_start,
            life: self.life,
            boottime: clock::boottime().as_secs_f64(),
            monotonic: clock::monotonic().as_secs_f64(),
            event,
        };
        let text = serde_json::to_string(&line)? + "\n";
        match retry_on_intr(|| rustix::io::write(&self.file, text.as_bytes()))? {
            written if written == text.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

fn lock(file: &File) -> io::Result<()> {
    let until = clock::monotonic() + LOCK_TIMEOUT;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR | Errno::WOULDBLOCK) if clock::monotonic() < until => std::thread::sleep(LOCK_RETRY),
            Err(Errno::WOULDBLOCK) => {
                return Err(io::Error::other("another process keeps it locked: stop that process"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The number of starts in the log.
fn lives(file: &File) -> io::Result<u64> {
    if file.metadata()?.len() > MAX_BYTES {
        return Err(io::Error::other("it is larger than 64 MiB: remove it"));
    }
    let mut lives = 0;
    for (number, line) in BufReader::new(file.take(MAX_BYTES)).lines().enumerate() {
        let line: EvidenceLine = serde_json::from_str(&line?).map_err(|_| {
            io::Error::other(format!("line {} is no evidence: remove the file, or name another one", number + 1))
        })?;
        lives += u64::from(line.event == EvidenceEvent::Start);
    }
    Ok(lives)
}
