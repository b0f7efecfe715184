//! Logging: one JSON object per line, or text for people.
//!
//! Logging must never block the program. A line that cannot be written, because the disk is full or hangs, or a pipe has no
//! reader, is dropped and counted. The next line that can be written is preceded by a line with that count.

mod destination;
mod error;
mod journal;
mod line;
mod settings;
mod sink;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use self::destination::{Destination, Recorder};
pub use self::error::LogError;
pub use self::journal::with_priority;
pub use self::settings::{LogConfig, LogFormat, LogLevel};
use self::sink::Sink;
pub use self::writer::become_writer;

static OUTPUT: OnceLock<LogOutput> = OnceLock::new();

/// Starts logging for the whole process. Every line carries the field `origin.0` with the value `origin.1`.
///
/// # Errors
///
/// The log file cannot be opened, or logging was started before.
pub fn start(config: &LogConfig, origin: (&'static str, &str)) -> Result<(), LogError> {
    let output = LogOutput {
        origin: (origin.0, origin.1.to_owned()),
        level: AtomicU8::new(rank(config.level)),
        lost: AtomicU64::new(0),
        reported: AtomicU64::new(0),
        current: Mutex::new((config.format, Destination::open(config.file.as_deref())?)),
    };
    OUTPUT.set(output).map_err(|_| LogError::Started)?;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ToOutput))
        .map_err(|_| LogError::Started)
}

/// Checked settings that are ready for [`apply`]. A new log file is open.
#[derive(Debug)]
pub struct PreparedLog {
    level: LogLevel,
    format: LogFormat,
    /// `None`: the present one.
    destination: Option<Arc<Destination>>,
}

/// Opens the log file of `config` if it is another one than the present, without other effects. Blocks on the disk.
///
/// # Errors
///
/// The log file cannot be opened.
pub fn prepare(config: &LogConfig) -> Result<PreparedLog, LogError> {
    let file = config.file.as_deref();
    let is_present = OUTPUT.get().is_some_and(|output| output.current().1.path() == file);
    let destination = (!is_present).then(|| Destination::open(file)).transpose()?;
    Ok(PreparedLog { level: config.level, format: config.format, destination })
}

/// Opens the present log file again, as log rotation requires. If that fails, the log goes on where it is, and says so.
pub fn reopen() {
    if let Some(output) = OUTPUT.get() {
        output.current().1.reopen(output);
    }
}

/// Replaces the settings of [`start`].
pub fn apply(prepared: PreparedLog) {
    let Some(output) = OUTPUT.get() else { return };
    output.level.store(rank(prepared.level), Ordering::Relaxed);
    let mut current = output.current.lock().unwrap_or_else(PoisonError::into_inner);
    current.0 = prepared.format;
    if let Some(destination) = prepared.destination {
        current.1 = destination;
    }
    drop(current);
    // tracing caches for each call site whether its level is enabled.
    tracing::callsite::rebuild_interest_cache();
}

/// How many lines could not be written since the start.
#[must_use]
pub fn lines_lost() -> u64 {
    OUTPUT.get().map_or(0, |output| output.lost.load(Ordering::Relaxed))
}

/// How many lines are not written yet.
#[must_use]
pub fn lines_pending() -> usize {
    OUTPUT.get().map_or(0, |output| output.current().1.pending())
}

/// Waits until all lines are written, at most for `limit`. For the end of the process: nothing is logged after it.
pub fn flush(limit: Duration) {
    if let Some(output) = OUTPUT.get() {
        output.current().1.flush(limit);
    }
}

/// The destination of the log lines, for people.
#[must_use]
pub fn destination(file: Option<&Path>) -> String {
    file.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
}

#[derive(Debug)]
struct LogOutput {
    origin: (&'static str, String),
    level: AtomicU8,
    lost: AtomicU64,
    /// How many of the lost lines have been reported in the log.
    reported: AtomicU64,
    current: Mutex<(LogFormat, Arc<Destination>)>,
}

impl LogOutput {
    fn current(&self) -> (LogFormat, Arc<Destination>) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn origin(&self) -> (&str, &str) {
        (self.origin.0, &self.origin.1)
    }

    fn write(&'static self, event: &Event<'_>) {
        let (format, destination) = self.current();
        let line = line::of(format, crate::clock::wall(), self.origin(), event);
        let level = severity(*event.metadata().level());
        destination.write(self, journal::for_output(destination.is_journal(), level, line));
    }
}

impl Recorder for LogOutput {
    fn record(&self, sink: &mut Sink, is_journal: bool, line: &str) {
        let missing = self.lost.load(Ordering::Relaxed).saturating_sub(self.reported.load(Ordering::Relaxed));
        if missing > 0 {
            let report = line::lost(self.current().0, crate::clock::wall(), self.origin(), missing);
            let report = journal::for_output(is_journal, LogLevel::Warn, report);
            if sink.write(report.as_bytes()).is_ok() {
                self.reported.fetch_add(missing, Ordering::Relaxed);
            }
        }
        if sink.write(line.as_bytes()).is_err() {
            self.lose();
        }
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Passes events to [`OUTPUT`]. The level may change while the process runs.
struct ToOutput;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToOutput {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        OUTPUT.get().is_some_and(|output| rank(severity(*metadata.level())) >= output.level.load(Ordering::Relaxed))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some(output) = OUTPUT.get() {
            output.write(event);
        }
    }
}

const fn rank(level: LogLevel) -> u8 {
    level as u8
}

const fn severity(level: Level) -> LogLevel {
    match level {
        Level::TRACE | Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}
