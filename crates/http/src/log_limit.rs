//! Limits log lines about events that peers can cause at any rate.

use std::cell::Cell;
use std::time::Duration;

use ops_runtime::clock;

/// The minimum time between two log lines about the same kind of event.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts events between two log lines.
#[derive(Debug, Default)]
pub struct LogLimit {
    unlogged: Cell<u64>,
    last_logged: Cell<Option<Duration>>,
}

impl LogLimit {
    /// No event was counted yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { unlogged: Cell::new(0), last_logged: Cell::new(None) }
    }

    /// Counts one event. Returns the number of events since the last log line if it is time for another line.
    pub fn count(&self) -> Option<u64> {
        let count = self.unlogged.get() + 1;
        let now = clock::monotonic();
        let due = self.last_logged.get().is_none_or(|last| now >= last + INTERVAL);
        self.unlogged.set(if due { 0 } else { count });
        if due {
            self.last_logged.set(Some(now));
        }
        due.then_some(count)
    }
}
