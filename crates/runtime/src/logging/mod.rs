//! Where log lines go: one JSON object a line, or text for a person.
//!
//! A log must not be able to stop what it describes. A line that cannot be written, because the disk is full or nobody
//! reads the pipe, is dropped and counted, and the next one that can be written says how many are missing.

mod line;
mod settings;
mod sink;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

pub use self::settings::{LogConfig, LogFormat, LogLevel};
use self::sink::Sink;

static OUTPUT: OnceLock<Output> = OnceLock::new();

/// Starts logging for the whole process. Every line carries `who`, as `(field, value)`.
///
/// # Errors
///
/// The log file cannot be opened, or logging was started before.
pub fn start(config: &LogConfig, who: (&'static str, &str)) -> io::Result<()> {
    let sink = Sink::open(config.file.as_deref())?;
    let output = Output {
        who: (who.0, who.1.to_owned()),
        level: AtomicU8::new(rank(config.level)),
        lost: AtomicU64::new(0),
        sink: Mutex::new((config.format, sink)),
    };
    OUTPUT.set(output).map_err(|_| io::Error::other("logging was started before"))?;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ToOutput)).map_err(io::Error::other)
}

/// New settings that are known to work, ready to be put in force: the log file is open.
#[derive(Debug)]
pub struct Prepared {
    level: LogLevel,
    format: LogFormat,
    sink: Sink,
}

/// Opens what `config` asks for, and changes nothing yet. The file is opened anew even where its name stays, which is
/// what log rotation wants of a reload.
///
/// # Errors
///
/// The log file cannot be opened.
pub fn prepare(config: &LogConfig) -> io::Result<Prepared> {
    Ok(Prepared { level: config.level, format: config.format, sink: Sink::open(config.file.as_deref())? })
}

/// Puts new settings in force.
pub fn apply(prepared: Prepared) {
    let Some(output) = OUTPUT.get() else { return };
    output.level.store(rank(prepared.level), Ordering::Relaxed);
    let mut guard = output.sink.lock().unwrap_or_else(PoisonError::into_inner);
    let Prepared { format, mut sink, .. } = prepared;
    sink.follow(&guard.1);
    *guard = (format, sink);
    drop(guard);
    // Each place in the program that logs remembers whether it is wanted.
    tracing::callsite::rebuild_interest_cache();
}

/// How many lines could not be written since the start.
#[must_use]
pub fn lines_lost() -> u64 {
    OUTPUT.get().map_or(0, |output| output.lost.load(Ordering::Relaxed))
}

/// Where lines of this configuration go, for people.
#[must_use]
pub fn destination(file: Option<&Path>) -> String {
    file.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
}

struct Output {
    who: (&'static str, String),
    level: AtomicU8,
    lost: AtomicU64,
    sink: Mutex<(LogFormat, Sink)>,
}

impl Output {
    fn write(&self, event: &Event<'_>) {
        let mut guard = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let (format, sink) = &mut *guard;
        let who = (self.who.0, self.who.1.as_str());
        let now = crate::clock::wall();
        let missing = sink.untold(self.lost.load(Ordering::Relaxed));
        if missing > 0 && sink.write(line::lost(*format, now, who, missing).as_bytes()).is_ok() {
            sink.told(missing);
        }
        if sink.write(line::of(*format, now, who, event).as_bytes()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Hands events to [`OUTPUT`]; the level may change while the process runs.
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
