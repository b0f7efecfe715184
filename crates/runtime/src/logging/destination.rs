//! Where log lines go, and how: at once, or on a thread of their own.
//!
//! A write to a pipe or a socket is made at once, because [`Sink`] makes it without waiting. A write to a regular file or a
//! terminal can wait without end: for a disk that hangs, or for a terminal whose other end does not read. It is made on a thread,
//! which lives while there are lines. The program waits for it up to [`WRITE_TIMEOUT`], so that a line is written before what
//! follows it happens, even if the process is then killed. After that, it goes on without waiting until all lines are written.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::error::LogError;
use super::journal;
use super::sink::Sink;
use crate::causes::with_causes;

/// The size limit of the lines that wait for the thread, in bytes. What exceeds it is lost.
const MAX_WAITING: usize = 1 << 20;

/// How long the program waits for one line. A write to a cache takes microseconds, but the thread may have to wait for a CPU.
const WRITE_TIMEOUT: Duration = Duration::from_millis(200);

/// How long an idle thread waits for more lines.
const LINGER: Duration = Duration::from_millis(500);

/// Writes a line to a sink, and counts it if it is lost.
pub(super) trait Recorder: Sync {
    /// Writes one line, preceded by a report of the lines that were lost before it.
    fn record(&self, sink: &mut Sink, is_journal: bool, line: &str);

    /// Counts one lost line.
    fn lose(&self);
}

/// The log file, or standard output.
#[derive(Debug)]
pub(super) struct Destination {
    path: Option<PathBuf>,
    /// Whether a write can wait.
    waits: bool,
    is_journal: bool,
    sink: Mutex<Sink>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// What waits for the thread.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// The sizes of all lines that are not written yet, in bytes.
    bytes: usize,
    /// The number of entries that are not done yet, including the one that the thread works on.
    pending: usize,
    thread: Option<JoinHandle<()>>,
    /// Whether the thread runs, and takes what is queued.
    takes: bool,
    /// A write took longer than [`WRITE_TIMEOUT`], and since then there were always lines.
    is_behind: bool,
    /// The process ends: the thread waits for no more lines.
    closing: bool,
}

#[derive(Debug)]
enum Entry {
    Line(String),
    /// The file has to be opened again, since it may have been renamed or removed.
    Reopen,
}

impl Destination {
    /// Opens the file, or takes standard output.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub(super) fn open(path: Option<&Path>) -> Result<Arc<Self>, LogError> {
        let sink = Sink::open(path)?;
        Ok(Arc::new(Self {
            path: path.map(Path::to_owned),
            waits: sink.can_wait(),
            is_journal: path.is_none() && journal::is_journal(rustix::stdio::stdout()),
            sink: Mutex::new(sink),
            queue: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Whether each line has to begin with its priority for the journal.
    pub(super) const fn is_journal(&self) -> bool {
        self.is_journal
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Writes a line, or queues it if that takes long.
    pub(super) fn write(self: &Arc<Self>, recorder: &'static impl Recorder, line: String) {
        if !self.waits {
            return recorder.record(&mut lock(&self.sink), self.is_journal, &line);
        }
        let mut queue = lock(&self.queue);
        if queue.bytes + line.len() > MAX_WAITING {
            return recorder.lose();
        }
        queue.bytes += line.len();
        let queue = self.submit(queue, recorder, Entry::Line(line));
        // The thread itself logs where the file cannot be opened again.
        let is_thread = queue.thread.as_ref().is_some_and(|log| log.thread().id() == thread::current().id());
        if queue.takes && !queue.is_behind && !is_thread {
            let waited = self.changed.wait_timeout_while(queue, WRITE_TIMEOUT, |queue| queue.pending > 0);
            let (mut queue, result) = waited.unwrap_or_else(PoisonError::into_inner);
            queue.is_behind = result.timed_out();
        }
    }

    /// Opens the file again. If that fails, the log goes on where it is, and says so.
    pub(super) fn reopen(self: &Arc<Self>, recorder: &'static impl Recorder) {
        let queue = lock(&self.queue);
        if self.path.is_some() && !matches!(queue.entries.back(), Some(Entry::Reopen)) {
            drop(self.submit(queue, recorder, Entry::Reopen));
        }
    }

    /// The number of lines that are not written yet.
    pub(super) fn pending(&self) -> usize {
        lock(&self.queue).pending
    }

    /// Waits until all lines are written, at most for `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let mut queue = lock(&self.queue);
        queue.closing = true;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(queue, limit, |queue| queue.takes);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let thread = queue.thread.take().filter(|_| !queue.takes);
        drop(queue);
        if let Some(thread) = thread {
            // It has nothing left to do but to end.
            let _ = thread.join();
        }
        if let Ok(mut sink) = self.sink.try_lock() {
            sink.close();
        }
    }

    fn submit<'a>(
        self: &Arc<Self>,
        mut queue: MutexGuard<'a, Queue>,
        recorder: &'static impl Recorder,
        entry: Entry,
    ) -> MutexGuard<'a, Queue> {
        queue.entries.push_back(entry);
        queue.pending += 1;
        if queue.takes {
            self.changed.notify_all();
            return queue;
        }
        let this = Arc::clone(self);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || this.work(recorder));
        // If the system refuses a thread, the next line tries again.
        queue.takes = thread.is_ok();
        queue.thread = thread.ok();
        queue
    }

    /// The thread.
    fn work(&self, recorder: &'static impl Recorder) {
        while let Some(entry) = self.next() {
            let size = match entry {
                Entry::Line(line) => {
                    recorder.record(&mut lock(&self.sink), self.is_journal, &line);
                    line.len()
                }
                Entry::Reopen => {
                    self.open_again();
                    0
                }
            };
            let mut queue = lock(&self.queue);
            queue.bytes -= size;
            queue.pending -= 1;
            if queue.pending == 0 {
                queue.is_behind = false;
                self.changed.notify_all();
            }
        }
    }

    fn next(&self) -> Option<Entry> {
        let idle = |queue: &mut Queue| queue.entries.is_empty() && !queue.closing;
        let waited = self.changed.wait_timeout_while(lock(&self.queue), LINGER, idle);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let next = queue.entries.pop_front();
        if next.is_none() {
            queue.takes = false;
            self.changed.notify_all();
        }
        next
    }

    fn open_again(&self) {
        match Sink::open(self.path()) {
            Ok(next) => lock(&self.sink).replace(next),
            Err(error) => tracing::warn!(error = with_causes(&error), "the log file cannot be opened again"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
