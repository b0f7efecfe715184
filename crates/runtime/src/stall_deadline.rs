//! How long to wait for somebody else before going on without. Pure.

use std::time::Duration;

/// Into how many looks a wait is divided.
const LOOKS: u32 = 4;

/// A wait of which only that time counts in which the one who waits was awake.
///
/// A process that was stopped, or did not get a CPU, finds a deadline passed that nobody else has missed: whoever was to
/// answer may have stood still with it, as a thread of the same process does. So a wait is divided into a few looks, and
/// whatever the clock says, one look uses up one part of it.
#[derive(Debug, Clone, Copy)]
pub struct StallDeadline {
    look: Duration,
    left: u32,
    next: Duration,
}

impl StallDeadline {
    /// Begins to wait at `now`, on the monotonic clock, for `limit` at most.
    #[must_use]
    pub fn begin(now: Duration, limit: Duration) -> Self {
        let look = limit / LOOKS;
        Self { look, left: LOOKS, next: now + look }
    }

    /// When to look next. `None`: it has ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        (self.left > 0).then_some(self.next)
    }

    /// Looks. `true`, once, when it has ended.
    pub fn ends(&mut self, now: Duration) -> bool {
        if self.left == 0 || now < self.next {
            return false;
        }
        self.left -= 1;
        self.next = now + self.look;
        self.left == 0
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.left == 0
    }
}

/// Waits for `limit` with [`StallDeadline`], where somebody else is watched meanwhile: each look begins when the last one was noticed to be
/// over. `rest` waits for one of them.
pub async fn wait_out(limit: Duration, rest: impl AsyncFn(Duration)) {
    for _ in 0..LOOKS {
        rest(limit / LOOKS).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_ends_after_its_limit_and_once() {
        let mut stall_deadline = StallDeadline::begin(SECOND, SECOND);
        let mut now = SECOND;
        while let Some(at) = stall_deadline.deadline() {
            assert!(!stall_deadline.is_over() && !stall_deadline.ends(at - Duration::from_nanos(1)));
            now = at;
            stall_deadline.ends(at);
        }
        assert_eq!(now, SECOND * 2);
        assert!(stall_deadline.is_over() && !stall_deadline.ends(SECOND * 3));
    }

    #[test]
    fn a_stop_of_whatever_length_uses_up_one_look_of_it() {
        let mut stall_deadline = StallDeadline::begin(SECOND, SECOND);
        let back = SECOND * 3600;
        assert!(!stall_deadline.ends(back), "nobody else has had the time");
        assert_eq!(stall_deadline.deadline(), Some(back + SECOND / 4));
        assert!(!stall_deadline.ends(back + SECOND / 4) && !stall_deadline.ends(back + SECOND / 2));
        assert!(stall_deadline.ends(back + SECOND * 3 / 4));
    }
}
