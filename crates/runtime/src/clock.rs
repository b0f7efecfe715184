//! The only place that asks what time it is.

use std::fs;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use async_io::Async;
use rustix::param::clock_ticks_per_second;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use statemachine::time::Now;

use crate::stall_deadline::wait_out;

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
        // As it is here: what counts is by how much it runs ahead of the other one.
        read(ClockId::Boottime)
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

/// The work's output, or `None` if it took longer than `limit`; it is dropped then. As with any
/// [patience](crate::stall_deadline), a time in which this process was stopped uses up one part of the limit and no more: what has come
/// from the peer meanwhile is still to be read.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let expiry = async {
        let rest = async |look| {
            async_io::Timer::after(look).await;
        };
        wait_out(limit, rest).await;
        None
    };
    futures_lite::future::or(async { Some(work.await) }, expiry).await
}

/// The wall clock. For people, never for a decision.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Time since boot, suspends included, which any process on the host reads alike, in whichever time name space it is.
#[must_use]
pub fn boottime() -> Duration {
    let (here, ahead) = (read(ClockId::Boottime), ahead());
    if ahead < 0 { here.saturating_add(nanos(ahead)) } else { here.saturating_sub(nanos(ahead)) }
}

/// The same for what `/proc` says in clock ticks since boot.
#[must_use]
pub fn ticks_on_the_host(here: u64) -> u64 {
    let ahead = ahead();
    let ticks = nanos(ahead).as_nanos() * u128::from(clock_ticks_per_second()) / 1_000_000_000;
    let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
    if ahead < 0 { here.saturating_add(ticks) } else { here.saturating_sub(ticks) }
}

/// By how many nanoseconds boot time is ahead of the host's: none, but in a time name space, see time_namespaces(7).
fn ahead() -> i64 {
    static AHEAD: OnceLock<i64> = OnceLock::new();
    *AHEAD.get_or_init(|| {
        // A kernel without such name spaces has no such file.
        let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        boottime_offset(&offsets).unwrap_or_default()
    })
}

/// From lines as `boottime  2592000  0`: seconds, which may be negative, and nanoseconds on top.
fn boottime_offset(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("boottime"))?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse::<i64>);
    let (seconds, nanos) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn nanos(count: i64) -> Duration {
    Duration::from_nanos(count.unsigned_abs())
}

/// Time since boot without suspends: for measuring how long something took.
#[must_use]
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::boottime_offset;

    #[test]
    fn the_offset_of_a_time_name_space_is_read_as_the_kernel_writes_it() {
        let offsets = |boottime: &str| format!("monotonic         100         0\nboottime   {boottime}\n");
        assert_eq!(boottime_offset(&offsets("2592000         0")), Some(2_592_000_000_000_000));
        assert_eq!(boottime_offset(&offsets("-2 500000000")), Some(-1_500_000_000));
        assert_eq!(boottime_offset(&offsets("99999999999 0")), None);
        assert_eq!(boottime_offset(""), None);
    }
}
