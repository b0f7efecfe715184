//! Suspends restarts for one interval when the daemon itself or the host may be at fault. Then the agents are checked again.
//!
//! A hold suspends only restarts that follow from a verdict. The kernel reports the exit of a process, so no recheck is needed.
//!
//! Verdicts are collected before the first one restarts an agent, so that a failure of the whole host is seen as one.

use std::fmt;
use std::time::Duration;

use statemachine::supervision::ReasonCode;

/// A loop that did not run for this long although it had to has stalled: what has arrived meanwhile is not read yet.
pub const STALL: Duration = Duration::from_secs(1);

/// Fewer failing agents are not a mass failure, whatever their share.
pub const MASS: usize = 3;

/// How long verdicts are collected before they are judged together.
pub const COLLECTING: Duration = Duration::from_secs(1);

/// Why restarts are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// The host was suspended for this time.
    Suspended(Duration),
    /// The daemon had to run and did not, for this time.
    Stalled(Duration),
    /// More than half of the agents are bad or late, so the cause is likely a common one.
    MassFailure {
        /// The number of agents that are bad or late.
        bad: usize,
        /// The number of agents that are meant to run.
        of: usize,
    },
}

impl HoldReason {
    /// The code for programs.
    #[must_use]
    pub const fn code(self) -> ReasonCode {
        match self {
            Self::Suspended(_) => ReasonCode::Suspended,
            Self::Stalled(_) => ReasonCode::Stalled,
            Self::MassFailure { .. } => ReasonCode::MassFailure,
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspended(time) => write!(f, "the host was suspended for {:.1} s", time.as_secs_f64()),
            Self::Stalled(time) => write!(f, "the daemon itself stalled for {:.1} s", time.as_secs_f64()),
            Self::MassFailure { bad, of } => write!(f, "{bad} of {of} agents are bad or late"),
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
    /// Until when verdicts are collected.
    collects_until: Option<Duration>,
    hold: Option<RestartHold>,
    /// When the last hold for a suspend or a stall began.
    stood_still: Option<Duration>,
    /// When the last hold for a mass failure began.
    last_mass_failure: Option<Duration>,
}

impl RestartGuard {
    /// The loop woke up at `now`; its deadline was `due`. `boottime` is the clock that counts suspends. `worked` is the CPU time
    /// that the loop's thread has used since `due`: its own work is no stall. Returns a new hold, which has to be logged.
    pub fn on_wakeup(
        &mut self,
        now: Duration,
        boottime: Duration,
        due: Option<Duration>,
        worked: impl FnOnce(Duration) -> Duration,
    ) -> Option<RestartHold> {
        let ahead = boottime.saturating_sub(now);
        let suspended = ahead.saturating_sub(self.ahead.replace(ahead).unwrap_or(ahead));
        let reason = if suspended >= STALL {
            self.last_suspend = Some((now, suspended));
            HoldReason::Suspended(suspended)
        } else {
            let due = due.filter(|due| now >= *due + STALL)?;
            let stalled = now.saturating_sub(due).saturating_sub(worked(due));
            HoldReason::Stalled(Some(stalled).filter(|stalled| *stalled >= STALL)?)
        };
        self.stood_still = Some(now);
        // What the verdicts rest on may be out of date.
        self.collects_until = None;
        Some(self.hold(now, reason))
    }

    /// A verdict has to be collected. It is judged when [`Self::collects_until`] is over.
    pub fn collect(&mut self, now: Duration) {
        self.collects_until.get_or_insert(now + COLLECTING);
    }

    /// Until when verdicts are collected. `None`: there are none.
    #[must_use]
    pub const fn collects_until(&self) -> Option<Duration> {
        self.collects_until
    }

    /// Ends the collecting: `bad` of `of` agents are bad or late. Returns a new hold, which has to be logged.
    pub fn judge_collected(&mut self, now: Duration, bad: usize, of: usize) -> Option<RestartHold> {
        self.collects_until = None;
        (bad >= MASS && bad * 2 > of).then(|| {
            self.last_mass_failure = Some(now);
            self.hold(now, HoldReason::MassFailure { bad, of })
        })
    }

    /// Whether the last hold for a mass failure began at `since` or later. Trouble from before it is part of that failure.
    #[must_use]
    pub fn has_held(&self, since: Duration) -> bool {
        self.last_mass_failure.is_some_and(|began| since <= began)
    }

    /// Whether the daemon or the host stood still after `since`.
    #[must_use]
    pub fn stood_still_after(&self, since: Duration) -> bool {
        self.stood_still.is_some_and(|at| since < at)
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

    /// The hold after `bad` of `of` agents were found bad or late.
    fn hold_after(bad: usize, of: usize) -> Option<HoldReason> {
        RestartGuard::default().judge_collected(Duration::ZERO, bad, of).map(|hold| hold.reason)
    }

    #[test]
    fn a_reason_names_its_cause() {
        let said = |reason: HoldReason| reason.to_string();
        assert_eq!(said(HoldReason::Suspended(Duration::from_millis(2500))), "the host was suspended for 2.5 s");
        assert_eq!(said(HoldReason::Stalled(Duration::from_secs(3))), "the daemon itself stalled for 3.0 s");
        let mass = HoldReason::MassFailure { bad: 3, of: 4 };
        assert_eq!(said(mass), "3 of 4 agents are bad or late");
    }

    #[test]
    fn a_mass_failure_is_more_than_half_of_the_agents_and_at_least_three() {
        assert_eq!(hold_after(3, 6), None, "exactly half");
        assert_eq!(hold_after(4, 6), Some(HoldReason::MassFailure { bad: 4, of: 6 }));
        assert_eq!(hold_after(2, 2), None, "fewer than three");
        assert_eq!(hold_after(3, 3), Some(HoldReason::MassFailure { bad: 3, of: 3 }));
    }

    #[test]
    fn only_the_time_in_which_the_daemon_did_not_work_is_a_stall() {
        let (second, milli) = (Duration::from_secs(1), Duration::from_millis(1));
        let wake = |worked: Duration| {
            let mut guard = RestartGuard::default();
            guard.on_wakeup(second * 5, second * 5, Some(second), |_| worked).map(|hold| hold.reason)
        };
        assert_eq!(wake(Duration::ZERO), Some(HoldReason::Stalled(second * 4)));
        assert_eq!(wake(second * 3), Some(HoldReason::Stalled(second)));
        assert_eq!(wake(second * 3 + milli), None);
        assert_eq!(wake(second * 9), None);
    }

    #[test]
    fn the_first_verdict_says_until_when_the_others_are_collected() {
        let mut guard = RestartGuard::default();
        guard.collect(Duration::from_secs(7));
        guard.collect(Duration::from_millis(7500));
        assert_eq!(guard.collects_until(), Some(Duration::from_secs(8)));
        assert_eq!(guard.judge_collected(Duration::from_secs(8), 3, 6), None);
        assert_eq!(guard.collects_until(), None);
    }
}
