//! The only module that reads a clock.

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

/// The clock as an event loop sees it. It is a parameter, so that tests can bring their own.
pub trait Clock {
    /// The current time.
    fn now(&self) -> Now;
    /// Time since boot, with suspends. The default is [`Now::monotonic`], for clocks in tests that never suspend.
    fn boottime(&self) -> Duration {
        self.now().monotonic
    }
    /// The CPU time that the calling thread has used. The default is zero, for clocks in tests, where work takes no time.
    fn cpu_time(&self) -> Duration {
        Duration::ZERO
    }
    /// Waits until `at` on the clock of [`Now::monotonic`]. Returns at once if that time has passed.
    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()>;
}

/// The clocks of the system.
///
/// `monotonic` is `CLOCK_MONOTONIC`, which stops while the host is suspended. So a resume makes nothing overdue.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { monotonic: read(ClockId::Monotonic), wall: wall() }
    }

    fn boottime(&self) -> Duration {
        // Without the offset of a time namespace: only the difference to the monotonic clock counts here.
        read(ClockId::Boottime)
    }

    fn cpu_time(&self) -> Duration {
        read(ClockId::ThreadCPUTime)
    }

    async fn sleep_until(&self, at: Duration) {
        // A reactor timer wakes the reactor's helper thread each time it is set. A timerfd wakes only the task that
        // waits on it. If no descriptor is left for a timerfd, the reactor timer has to do.
        match timerfd(at) {
            // Reads after each wake-up, because async-io discards a readiness event that came before the wait.
            Ok(timer) if timer.read_with(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?)).await.is_ok() => {}
            Ok(_) | Err(_) => {
                async_io::Timer::after(at.saturating_sub(read(ClockId::Monotonic))).await;
            }
        }
    }
}

/// A timerfd that becomes readable at `at`.
fn timerfd(at: Duration) -> io::Result<Async<OwnedFd>> {
    // Zero would disarm the timer.
    let at = Timespec::try_from(at.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let once = Itimerspec { it_interval: Timespec::default(), it_value: at };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &once)?;
    Async::new_nonblocking(timer)
}

/// Returns the output of `work`, or `None` and drops the work if it takes longer than `limit`. The limit is a [stall
/// deadline](crate::stall_deadline): a stop of this process uses up one part of it at most, so that data which
/// arrived during the stop is still read.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let expiry = async {
        let rest = async |part| {
            async_io::Timer::after(part).await;
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

/// Time since boot, with suspends, outside of any time namespace: the same for every process on the host.
#[must_use]
pub fn boottime() -> Duration {
    let (here, ahead) = (read(ClockId::Boottime), namespace_offset());
    if ahead < 0 { here.saturating_add(nanos(ahead)) } else { here.saturating_sub(nanos(ahead)) }
}

/// Converts clock ticks since boot, as `/proc` shows them, to their value outside of any time namespace.
#[must_use]
pub(crate) fn host_ticks(here: u64) -> u64 {
    let ahead = namespace_offset();
    let ticks = nanos(ahead).as_nanos() * u128::from(clock_ticks_per_second()) / 1_000_000_000;
    let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
    if ahead < 0 { here.saturating_add(ticks) } else { here.saturating_sub(ticks) }
}

/// By how many nanoseconds boot time is ahead of the host's. Zero outside of a time namespace, see
/// time_namespaces(7).
fn namespace_offset() -> i64 {
    static AHEAD: OnceLock<i64> = OnceLock::new();
    *AHEAD.get_or_init(|| {
        // The file does not exist on a kernel without time namespaces.
        let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        parse_boottime_offset(&offsets).unwrap_or_default()
    })
}

/// Parses a line such as `boottime  2592000  0`: seconds, which may be negative, and additional nanoseconds.
fn parse_boottime_offset(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("boottime"))?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse::<i64>);
    let (seconds, nanos) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn nanos(count: i64) -> Duration {
    Duration::from_nanos(count.unsigned_abs())
}

/// Time since boot, without suspends. For measuring durations.
#[must_use]
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// The CPU time that all threads of this process have used.
pub(crate) fn process_cpu_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// The CPU time that all threads of a process have used so far, to the nanosecond. It stays the same only while none of
/// them runs. `None`: there is no such process, or the kernel does not tell.
#[must_use]
pub fn cpu_time_of(pid: u32) -> Option<Duration> {
    // The ID that clock_getcpuclockid(3) gives. That function also asks the kernel for the process, which costs a system call.
    let id = (!i32::try_from(pid).ok()? << 3) | 2;
    Some(nix::time::ClockId::from_raw(id).now().ok()?.into())
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{cpu_time_of, parse_boottime_offset};

    #[test]
    fn the_cpu_time_of_a_process_grows_while_it_runs_and_ends_with_it() {
        let own = std::process::id();
        let before = cpu_time_of(own).unwrap();
        while cpu_time_of(own).unwrap() == before {}
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(cpu_time_of(pid), None);
    }

    #[test]
    fn the_offset_of_a_time_namespace_is_parsed_as_the_kernel_writes_it() {
        let offsets = |boottime: &str| format!("monotonic         100         0\nboottime   {boottime}\n");
        assert_eq!(parse_boottime_offset(&offsets("2592000         0")), Some(2_592_000_000_000_000));
        assert_eq!(parse_boottime_offset(&offsets("-2 500000000")), Some(-1_500_000_000));
        assert_eq!(parse_boottime_offset(&offsets("99999999999 0")), None);
        assert_eq!(parse_boottime_offset(""), None);
    }
}
