//! The daemon's doubt about itself: when it may have been blind, it restarts nobody for one interval, and looks again.
//!
//! What is held is the ending of a process for a verdict. Starting again what is dead already is not: that a process is
//! gone is the kernel's word and needs no second look.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The loop waking up this much too late is a stall: what others sent meanwhile has not been read yet.
pub(crate) const STALL: Duration = Duration::from_secs(1);

/// Fewer agents turning bad together are no mass failure, whatever their share.
pub const MASS: usize = 3;

/// Why restarts are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// The host was suspended for so long.
    Suspended(Duration),
    /// The daemon's own loop woke up so much too late.
    Stalled(Duration),
    /// More than half of the agents turned bad within one interval: the cause is hardly in each of them.
    MassFailure {
        /// How many turned bad.
        bad: usize,
        /// Of how many.
        of: usize,
    },
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspended(time) => write!(f, "the host was suspended for {:.1} s", time.as_secs_f64()),
            Self::Stalled(time) => write!(f, "the daemon itself stood still for {:.1} s", time.as_secs_f64()),
            Self::MassFailure { bad, of } => write!(f, "{bad} of {of} agents turned bad within one interval"),
        }
    }
}

/// Restarts are held for one interval from `since` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartHold {
    /// From when, on the monotonic clock.
    pub since: Duration,
    /// Why.
    pub doubt: HoldReason,
}

/// Watches the daemon itself.
#[derive(Debug, Clone, Default)]
pub struct RestartGuard {
    /// By how much the clock that counts suspends was ahead of the one that does not.
    ahead: Option<Duration>,
    /// When the host last woke up from a suspend, and how long that was.
    slept: Option<(Duration, Duration)>,
    /// Which agents turned bad, and when, as far back as one interval.
    turned_bad: Vec<(Duration, Arc<str>)>,
    hold: Option<RestartHold>,
}

impl RestartGuard {
    /// The loop woke up at `now`, where `due` had been agreed, if anything had. `boottime` is the clock that goes on during
    /// a suspend. Answers with the new hold, to be said aloud.
    pub fn on_wakeup(&mut self, now: Duration, boottime: Duration, due: Option<Duration>) -> Option<RestartHold> {
        let ahead = boottime.saturating_sub(now);
        let suspended = ahead.saturating_sub(self.ahead.replace(ahead).unwrap_or(ahead));
        let late = now.saturating_sub(due.unwrap_or(now));
        let doubt = if suspended >= STALL {
            self.slept = Some((now, suspended));
            HoldReason::Suspended(suspended)
        } else if late >= STALL {
            HoldReason::Stalled(late)
        } else {
            return None;
        };
        Some(self.doubt(now, doubt))
    }

    /// One of `of` agents turned bad, and looks are `interval` apart. Answers with the new hold, to be said aloud.
    pub fn turned_bad(&mut self, now: Duration, interval: Duration, id: &Arc<str>, of: usize) -> Option<RestartHold> {
        self.turned_bad.retain(|(at, other)| now.saturating_sub(*at) <= interval && other != id);
        self.turned_bad.push((now, Arc::clone(id)));
        let bad = self.turned_bad.len();
        let known = self.holds(now, interval).is_some_and(|hold| matches!(hold.doubt, HoldReason::MassFailure { .. }));
        (bad >= MASS && bad * 2 > of && !known).then(|| self.doubt(now, HoldReason::MassFailure { bad, of }))
    }

    /// The hold that stands for an agent whose looks are `interval` apart.
    #[must_use]
    pub fn holds(&self, now: Duration, interval: Duration) -> Option<RestartHold> {
        self.hold.filter(|hold| now < hold.since + interval)
    }

    /// The last hold, whether it still stands or not.
    #[must_use]
    pub const fn last_hold(&self) -> Option<RestartHold> {
        self.hold
    }

    /// How old something is that was made so long ago by the clock that goes on during a suspend: nobody is late for the
    /// time that the whole host slept.
    #[must_use]
    pub fn awake_age(&self, now: Duration, age: Duration) -> Duration {
        match self.slept {
            Some((on_wakeup, slept)) if age > now.saturating_sub(on_wakeup) => {
                age.saturating_sub(slept).max(now.saturating_sub(on_wakeup))
            }
            _ => age,
        }
    }

    fn doubt(&mut self, now: Duration, doubt: HoldReason) -> RestartHold {
        *self.hold.insert(RestartHold { since: now, doubt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last hold after `bad` of `of` agents turned bad at the same time.
    fn hold_after(bad: usize, of: usize) -> Option<HoldReason> {
        let mut guard = RestartGuard::default();
        for agent in 0..bad {
            let _ = guard.turned_bad(Duration::ZERO, Duration::from_secs(30), &Arc::from(agent.to_string()), of);
        }
        guard.last_hold().map(|hold| hold.doubt)
    }

    #[test]
    fn a_mass_failure_is_more_than_half_of_the_agents_and_at_least_three() {
        assert_eq!(hold_after(3, 6), None, "exactly half");
        assert_eq!(hold_after(4, 6), Some(HoldReason::MassFailure { bad: 4, of: 6 }));
        assert_eq!(hold_after(2, 2), None, "fewer than three");
        assert_eq!(hold_after(3, 3), Some(HoldReason::MassFailure { bad: 3, of: 3 }));
    }
}
