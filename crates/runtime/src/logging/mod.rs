//! Logging: one JSON object per line, or text for people.
//!
//! Logging must never block the program. A line that cannot be written, because the disk is full or a pipe has no
//! reader, is dropped and counted. The next line that can be written is preceded by a line with that count.

mod error;
mod line;
mod settings;
mod sink;

use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

pub use self::error::LogError;
pub use self::settings::{LogConfig, LogFormat, LogLevel};
use self::sink::Sink;

static OUTPUT: OnceLock<LogOutput> = OnceLock::new();

/// Starts logging for the whole process. Every line carries the field `origin.0` with the value `origin.1`.
///
/// # Errors
///
/// The log file cannot be opened, or logging was started before.
pub fn start(config: &LogConfig, origin: (&'static str, &str)) -> Result<(), LogError> {
    let sink = Sink::open(config.file.as_deref())?;
    let output = LogOutput {
        origin: (origin.0, origin.1.to_owned()),
        level: AtomicU8::new(rank(config.level)),
        lost: AtomicU64::new(0),
        sink: Mutex::new((config.format, sink)),
    };
    OUTPUT.set(output).map_err(|_| LogError::Started)?;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ToOutput))
        .map_err(|_| LogError::Started)
}

/// Checked settings that are ready for [`apply`]. The log file is open.
#[derive(Debug)]
pub struct PreparedLog {
    level: LogLevel,
    format: LogFormat,
    sink: Sink,
}

/// Opens the log file of `config`, without other effects. The file is opened again even if its name is unchanged, as
/// log rotation requires.
///
/// # Errors
///
/// The log file cannot be opened.
pub fn prepare(config: &LogConfig) -> Result<PreparedLog, LogError> {
    Ok(PreparedLog { level: config.level, format: config.format, sink: Sink::open(config.file.as_deref())? })
}

/// Opens the present log file again, as log rotation requires. If that fails, the log goes on where it is, and says so. Blocks on
/// the disk.
pub fn reopen(config: &LogConfig) {
    match prepare(config) {
        Ok(prepared) => apply(prepared),
        Err(error) => tracing::warn!(error = crate::causes::with_causes(&error), "the log file cannot be opened again"),
    }
}

/// Replaces the settings of [`start`].
pub fn apply(prepared: PreparedLog) {
    let Some(output) = OUTPUT.get() else { return };
    output.level.store(rank(prepared.level), Ordering::Relaxed);
    let mut guard = output.sink.lock().unwrap_or_else(PoisonError::into_inner);
    let PreparedLog { format, mut sink, .. } = prepared;
    sink.take_over(&guard.1);
    *guard = (format, sink);
    drop(guard);
    // tracing caches for each call site whether its level is enabled.
    tracing::callsite::rebuild_interest_cache();
}

/// How many lines could not be written since the start.
#[must_use]
pub fn lines_lost() -> u64 {
    OUTPUT.get().map_or(0, |output| output.lost.load(Ordering::Relaxed))
}

/// The destination of the log lines, for people.
#[must_use]
pub fn destination(file: Option<&Path>) -> String {
    file.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
}

struct LogOutput {
    origin: (&'static str, String),
    level: AtomicU8,
    lost: AtomicU64,
    sink: Mutex<(LogFormat, Sink)>,
}

impl LogOutput {
    fn write(&self, event: &Event<'_>) {
        let mut guard = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let (format, sink) = &mut *guard;
        let origin = (self.origin.0, self.origin.1.as_str());
        let now = crate::clock::wall();
        let missing = sink.unreported(self.lost.load(Ordering::Relaxed));
        if missing > 0 && sink.write(line::lost(*format, now, origin, missing).as_bytes()).is_ok() {
            sink.mark_reported(missing);
        }
        if sink.write(line::of(*format, now, origin, event).as_bytes()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Passes events to [`OUTPUT`]. The level may change while the process runs.
struct ToOutput;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToOutput {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        OUTPUT.get().is_some_and(|output| severity(*metadata.level()) >= output.level.load(Ordering::Relaxed))
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

fn severity(level: Level) -> u8 {
    match level {
        Level::TRACE | Level::DEBUG => rank(LogLevel::Debug),
        Level::INFO => rank(LogLevel::Info),
        Level::WARN => rank(LogLevel::Warn),
        Level::ERROR => rank(LogLevel::Error),
    }
}
