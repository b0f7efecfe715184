//! A flood of peers that do the same wrong thing is not a flood of log lines.

use std::cell::Cell;
use std::time::Duration;

use ops_runtime::clock;

/// How long at least between two log lines about the same kind of thing.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts what is not said, until it is time to say it.
#[derive(Debug, Default)]
pub struct LogLimit {
    unsaid: Cell<u64>,
    said: Cell<Option<Duration>>,
}

impl LogLimit {
    /// It happened once more. How often since it was said last, if it is to be said now.
    pub fn one_more(&self) -> Option<u64> {
        let count = self.unsaid.get() + 1;
        let now = clock::monotonic();
        let due = self.said.get().is_none_or(|said| now >= said + PAUSE);
        self.unsaid.set(if due { 0 } else { count });
        if due {
            self.said.set(Some(now));
        }
        due.then_some(count)
    }
}
