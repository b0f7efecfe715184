//! Suspends restarts for one interval when the daemon itself or the host may be at fault. Then the agents are checked again.
//!
//! A hold suspends only restarts that follow from a verdict. The kernel reports the exit of a process, so no recheck is needed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A loop that wakes up this much too late has stalled: what has arrived meanwhile is not read yet.
pub const STALL: Duration = Duration::from_secs(1);

/// Fewer failing agents are not a mass failure, whatever their share.
pub const MASS: usize = 3;

/// Why restarts are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// The host was suspended for this time.
    Suspended(Duration),
    /// The daemon's loop woke up this much too late.
    Stalled(Duration),
    /// More than half of the agents turned bad within one interval, so the cause is likely a common one.
    MassFailure {
        /// The number of agents that turned bad.
        bad: usize,
        /// The number of agents that are meant to run.
        of: usize,
    },
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspended(time) => write!(f, "the host was suspended for {:.1} s", time.as_secs_f64()),
            Self::Stalled(time) => write!(f, "the daemon itself stalled for {:.1} s", time.as_secs_f64()),
            Self::MassFailure { bad, of } => write!(f, "{bad} of {of} agents turned bad within one interval"),
        }
    }
}

/// A suspension of restarts, for one interval from `since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartHold {
    /// When it began, on the monotonic clock.
    pub since: Duration,
    /// Why.
    pub reason: HoldReason,
}

/// Decides when restarts are held.
#[derive(Debug, Clone, Default)]
pub struct RestartGuard {
    /// The lead of the clock that counts suspends over the one that does not.
    ahead: Option<Duration>,
    /// When the last suspend ended, and how long it was.
    last_suspend: Option<(Duration, Duration)>,
    /// The agents that turned bad within the last interval, and when.
    turned_bad: Vec<(Duration, Arc<str>)>,
    hold: Option<RestartHold>,
}

impl RestartGuard {
    /// The loop woke up at `now`; its deadline was `due`. `boottime` is the clock that counts suspends. Returns a new hold,
    /// which has to be logged.
    pub fn on_wakeup(&mut self, now: Duration, boottime: Duration, due: Option<Duration>) -> Option<RestartHold> {
        let ahead = boottime.saturating_sub(now);
        let suspended = ahead.saturating_sub(self.ahead.replace(ahead).unwrap_or(ahead));
        let late = now.saturating_sub(due.unwrap_or(now));
        let reason = if suspended >= STALL {
            self.last_suspend = Some((now, suspended));
            HoldReason::Suspended(suspended)
        } else if late >= STALL {
            HoldReason::Stalled(late)
        } else {
            return None;
        };
        Some(self.hold(now, reason))
    }

    /// One of `of` agents turned bad; `interval` is its check interval. Returns a new hold, which has to be logged.
    pub fn turned_bad(&mut self, now: Duration, interval: Duration, id: &Arc<str>, of: usize) -> Option<RestartHold> {
        self.turned_bad.retain(|(at, other)| now.saturating_sub(*at) <= interval && other != id);
        self.turned_bad.push((now, Arc::clone(id)));
        let bad = self.turned_bad.len();
        let known = self.holds(now, interval).is_some_and(|hold| matches!(hold.reason, HoldReason::MassFailure { .. }));
        (bad >= MASS && bad * 2 > of && !known).then(|| self.hold(now, HoldReason::MassFailure { bad, of }))
    }

    /// The hold that applies to an agent with this check interval.
    #[must_use]
    pub fn holds(&self, now: Duration, interval: Duration) -> Option<RestartHold> {
        self.hold.filter(|hold| now < hold.since + interval)
    }

    /// The last hold, also if it has ended.
    #[must_use]
    pub const fn last_hold(&self) -> Option<RestartHold> {
        self.hold
    }

    /// An age by the clock that counts suspends, without the last suspend: an agent is not late for the time in which the host
    /// was suspended.
    #[must_use]
    pub fn awake_age(&self, now: Duration, age: Duration) -> Duration {
        match self.last_suspend {
            Some((woke_at, suspended)) if age > now.saturating_sub(woke_at) => {
                age.saturating_sub(suspended).max(now.saturating_sub(woke_at))
            }
            _ => age,
        }
    }

    fn hold(&mut self, now: Duration, reason: HoldReason) -> RestartHold {
        *self.hold.insert(RestartHold { since: now, reason })
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
        guard.last_hold().map(|hold| hold.reason)
    }

    #[test]
    fn a_reason_names_its_cause() {
        let said = |reason: HoldReason| reason.to_string();
        assert_eq!(said(HoldReason::Suspended(Duration::from_millis(2500))), "the host was suspended for 2.5 s");
        assert_eq!(said(HoldReason::Stalled(Duration::from_secs(3))), "the daemon itself stalled for 3.0 s");
        let mass = HoldReason::MassFailure { bad: 3, of: 4 };
        assert_eq!(said(mass), "3 of 4 agents turned bad within one interval");
    }

    #[test]
    fn a_mass_failure_is_more_than_half_of_the_agents_and_at_least_three() {
        assert_eq!(hold_after(3, 6), None, "exactly half");
        assert_eq!(hold_after(4, 6), Some(HoldReason::MassFailure { bad: 4, of: 6 }));
        assert_eq!(hold_after(2, 2), None, "fewer than three");
        assert_eq!(hold_after(3, 3), Some(HoldReason::MassFailure { bad: 3, of: 3 }));
    }
}
