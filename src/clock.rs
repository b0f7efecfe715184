//! The only place that asks what time it is.

use std::future::Future;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use statemachine::time::Now;

/// Time as the driver sees it: a parameter, so that tests can bring their own.
pub trait Clock {
    /// The present moment.
    fn now(&self) -> Now;
    /// Time since boot, suspends included. Without any, as tests have it, the same as [`Now::monotonic`].
    fn boottime(&self) -> Duration {
        self.now().monotonic
    }
    /// Waits until `at` on the clock that [`Now::monotonic`] reads. Returns at once if that has passed.
    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()>;
}

/// The machine's own clocks.
///
/// `monotonic` is `CLOCK_MONOTONIC`, which stands still while the host is suspended: so nothing is overdue on waking up.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { monotonic: read(ClockId::Monotonic), wall: wall() }
    }

    fn boottime(&self) -> Duration {
        boottime()
    }

    async fn sleep_until(&self, at: Duration) {
        let left = at.saturating_sub(read(ClockId::Monotonic));
        async_io::Timer::after(left).await;
    }
}

/// The wall clock. For people, never for a decision.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Time since boot, suspends included, which any process on the host reads alike.
#[must_use]
pub fn boottime() -> Duration {
    read(ClockId::Boottime)
}

/// Time since boot without suspends: for measuring how long something took.
#[must_use]
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}
