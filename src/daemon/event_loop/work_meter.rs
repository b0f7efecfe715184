//! How long the loop's thread has worked since a deadline.

use std::cell::Cell;
use std::time::Duration;

/// Remembers the CPU time of the loop's thread at the end of the last two turns of the loop.
///
/// Every turn handles what is due, so no deadline is older than the turn before the last.
#[derive(Debug, Default)]
pub(super) struct WorkMeter {
    last: Cell<Sample>,
    before: Cell<Sample>,
}

/// The CPU time used at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    at: Duration,
    cpu_time: Duration,
}

impl WorkMeter {
    /// A turn of the loop has ended.
    pub(super) fn turn_ends(&self, now: Duration, cpu_time: Duration) {
        self.before.set(self.last.replace(Sample { at: now, cpu_time }));
    }

    /// The CPU time used since `due`, at most. Work just before `due` is included, since the last sample was before it.
    pub(super) fn since(&self, due: Duration, cpu_time: Duration) -> Duration {
        let last = self.last.get();
        let sample = if last.at <= due { last } else { self.before.get() };
        cpu_time.saturating_sub(sample.cpu_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_from_the_end_of_the_last_turn_before_the_deadline() {
        let seconds = Duration::from_secs;
        let meter = WorkMeter::default();
        meter.turn_ends(seconds(10), seconds(3));
        assert_eq!(meter.since(seconds(12), seconds(8)), seconds(5), "a task beside the loop worked for 5 s");
        meter.turn_ends(seconds(20), seconds(9));
        assert_eq!(meter.since(seconds(19), seconds(9)), seconds(6), "due while the last turn worked");
        assert_eq!(meter.since(seconds(20), seconds(9)), Duration::ZERO);
    }
}
