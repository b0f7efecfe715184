//! Deadlines that exclude the time in which this process itself did not run. Pure.

use std::time::Duration;

/// How many parts a wait has.
const PARTS: u32 = 4;

/// A deadline that counts only the time in which the waiting process ran.
///
/// After a stop, or without a CPU, a process finds that a deadline has passed although its peer had no time to
/// answer: the peer may have been stopped with it, such as a thread of the same process. So a wait has a few parts,
/// and a stop of any length uses up one part.
#[derive(Debug, Clone, Copy)]
pub struct StallDeadline {
    part: Duration,
    left: u32,
    next: Duration,
}

impl StallDeadline {
    /// Begins a wait at `now`, on the monotonic clock, for at most `limit`.
    #[must_use]
    pub fn begin(now: Duration, limit: Duration) -> Self {
        let part = limit / PARTS;
        Self { part, left: PARTS, next: now + part }
    }

    /// When the current part ends. `None`: the deadline has expired.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        (self.left > 0).then_some(self.next)
    }

    /// Ends the current part if it is over. Returns `true` once, when the deadline expires.
    pub fn expires(&mut self, now: Duration) -> bool {
        if self.left == 0 || now < self.next {
            return false;
        }
        self.left -= 1;
        self.next = now + self.part;
        self.left == 0
    }

    /// Whether the deadline has expired.
    #[must_use]
    pub const fn has_expired(&self) -> bool {
        self.left == 0
    }
}

/// Waits for `limit` as [`StallDeadline`] does, beside other work. Each part begins when the program notices the end
/// of the last one. `rest` waits for one part.
pub async fn wait_out(limit: Duration, rest: impl AsyncFn(Duration)) {
    for _ in 0..PARTS {
        rest(limit / PARTS).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_expires_after_its_limit_and_once() {
        let mut deadline = StallDeadline::begin(SECOND, SECOND);
        let mut now = SECOND;
        while let Some(at) = deadline.deadline() {
            assert!(!deadline.has_expired() && !deadline.expires(at - Duration::from_nanos(1)));
            now = at;
            deadline.expires(at);
        }
        assert_eq!(now, SECOND * 2);
        assert!(deadline.has_expired() && !deadline.expires(SECOND * 3));
    }

    #[test]
    fn a_stop_of_any_length_uses_up_one_part() {
        let mut deadline = StallDeadline::begin(SECOND, SECOND);
        let resumed = SECOND * 3600;
        assert!(!deadline.expires(resumed), "the peer may have been stopped too");
        assert_eq!(deadline.deadline(), Some(resumed + SECOND / 4));
        assert!(!deadline.expires(resumed + SECOND / 4) && !deadline.expires(resumed + SECOND / 2));
        assert!(deadline.expires(resumed + SECOND * 3 / 4));
    }
}
