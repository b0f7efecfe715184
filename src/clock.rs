//! The only place that asks what time it is.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use async_io::Async;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
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
        // A timer of the reactor's wakes its helper thread whenever it is set; one of the kernel's wakes nobody but whoever
        // waits for it. Without a descriptor to be had for it, the reactor's has to do.
        match alarm(at) {
            // Tried again on every wake-up: async-io holds an event for stale if it was waiting before it was asked.
            Ok(alarm) if alarm.read_with(|alarm| Ok(rustix::io::read(alarm, &mut [0; 8])?)).await.is_ok() => {}
            Ok(_) | Err(_) => {
                async_io::Timer::after(at.saturating_sub(read(ClockId::Monotonic))).await;
            }
        }
    }
}

/// A descriptor that is readable from `at` on.
fn alarm(at: Duration) -> io::Result<Async<OwnedFd>> {
    // Zero would mean never.
    let at = Timespec::try_from(at.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
    let alarm = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let once = Itimerspec { it_interval: Timespec::default(), it_value: at };
    timerfd_settime(&alarm, TimerfdTimerFlags::ABSTIME, &once)?;
    Async::new_nonblocking(alarm)
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
