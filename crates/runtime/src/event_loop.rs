//! What every event loop does alike: it waits for the next event or the next deadline, and pings the service manager.

use std::time::Duration;

use futures_lite::{FutureExt as _, future};
use smol::channel::Receiver;

use crate::clock::Clock;

/// The next event, or `None` when `deadline` comes first. Without a deadline it waits for an event.
pub async fn next_event<E>(inbox: &Receiver<E>, clock: &impl Clock, deadline: Option<Duration>) -> Option<E> {
    let arrival = async { inbox.recv().await.ok() };
    let Some(at) = deadline else { return arrival.await };
    if inbox.is_empty() {
        // The tasks that are ready run first. The event of one of them then needs no timer.
        future::yield_now().await;
    }
    let expiry = async {
        clock.sleep_until(at).await;
        None
    };
    arrival.or(expiry).await
}

/// When the service manager expects the next sign that the loop is alive.
#[derive(Debug, Clone, Copy)]
pub struct WatchdogTimer {
    /// `None`: the service manager has no watchdog for this process.
    interval: Option<Duration>,
    due: Duration,
}

impl WatchdogTimer {
    /// The first ping is due at `now`.
    #[must_use]
    pub const fn new(interval: Option<Duration>, now: Duration) -> Self {
        Self { interval, due: now }
    }

    /// When the next ping is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.interval.map(|_| self.due)
    }

    /// Whether a ping is due at `now`. If so, the next one is due an interval later.
    #[must_use]
    pub fn expire(&mut self, now: Duration) -> bool {
        let Some(interval) = self.interval.filter(|_| self.due <= now) else { return false };
        self.due = now + interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_due_at_once_and_then_an_interval_after_the_last() {
        let second = Duration::from_secs(1);
        let mut timer = WatchdogTimer::new(Some(5 * second), second);
        assert_eq!(timer.deadline(), Some(second));
        assert!(!timer.expire(Duration::ZERO));
        assert!(timer.expire(3 * second));
        assert_eq!(timer.deadline(), Some(8 * second));
        assert!(!timer.expire(7 * second));
    }

    #[test]
    fn without_an_interval_no_ping_is_ever_due() {
        let mut timer = WatchdogTimer::new(None, Duration::ZERO);
        assert_eq!(timer.deadline(), None);
        assert!(!timer.expire(Duration::MAX));
    }
}
