//! When the registry is saved, and what waits for it. Pure.
//!
//! A change that nothing waits for is saved soon, and at most once a second. A change that a start or a signal waits for is saved
//! at once, with everything else that has changed. One save runs at a time, so many changes share one.

use std::time::Duration;

use ops_runtime::stall_deadline::StallDeadline;

/// How long effects wait for the disk before they are performed without it.
pub(super) const SAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The interval between saves that nothing waits for.
const PACE: Duration = Duration::from_secs(1);

/// How long a change that nothing waits for is gathered with others. The death of a process is such a change, and the start that
/// follows it at once is not: without this time the start would wait for two saves.
const GATHER: Duration = Duration::from_millis(10);

/// The number of a save, in the order in which saves begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The state of past and future saves.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// The number of saves that have begun.
    begun: u64,
    /// The number of saves that have ended.
    ended: u64,
    /// When the last one began.
    last: Option<Duration>,
    /// When the next one begins.
    due: Option<Duration>,
    /// The time that the disk has for the present one.
    disk_deadline: Option<StallDeadline>,
    /// The number of failures since the last success.
    failures: u32,
}

impl Saves {
    /// Something has changed and will be saved soon.
    pub(super) fn change(&mut self, now: Duration) {
        let soon = self.last.map_or(now, |last| last + PACE).max(now + GATHER);
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// Something has changed that has to be saved before an effect. The ticket identifies its save.
    pub(super) fn change_before(&mut self, now: Duration) -> Ticket {
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
        Ticket(self.begun + 1)
    }

    /// Whether effects that wait for this save may go on. If the disk does not answer, none waits.
    pub(super) fn allows(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.ended || self.is_overdue()
    }

    /// Begins a save if one is due and none is in progress.
    pub(super) fn begin(&mut self, now: Duration) -> bool {
        let begins = self.begun == self.ended && self.due.is_some_and(|due| due <= now);
        if begins {
            self.begun += 1;
            self.due = None;
            self.last = Some(now);
            self.disk_deadline = Some(StallDeadline::begin(now, SAVE_TIMEOUT));
        }
        begins
    }

    /// The save in progress has ended. A failed one is tried again, also if nothing else changes.
    pub(super) fn end(&mut self, now: Duration, succeeded: bool) {
        self.ended = self.begun;
        self.disk_deadline = None;
        self.failures = if succeeded { 0 } else { self.failures + 1 };
        if !succeeded {
            self.change(now);
        }
    }

    /// Stops waiting if the disk has exceeded its time. `true` if that is new.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        self.disk_deadline.as_mut().is_some_and(|disk_deadline| disk_deadline.expires(now))
    }

    /// Whether every change is saved, or has failed twice: one error does not prevent the last save.
    pub(super) const fn is_tried(&self) -> bool {
        self.begun == self.ended && (self.failures > 1 || self.due.is_none())
    }

    /// Whether every change is saved.
    pub(super) const fn is_idle(&self) -> bool {
        self.is_tried() && self.failures == 0
    }

    /// When [`Self::begin`] or [`Self::expire`] has to be called next.
    pub(super) fn deadline(&self) -> Option<Duration> {
        if self.begun == self.ended {
            self.due
        } else {
            self.disk_deadline.and_then(|disk_deadline| disk_deadline.deadline())
        }
    }

    /// The present save has exceeded its time.
    fn is_overdue(&self) -> bool {
        self.disk_deadline.is_some_and(|disk_deadline| disk_deadline.has_expired())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn changes_without_waiting_effects_are_saved_once_a_second() {
        let mut saves = Saves::default();
        saves.change(SECOND - GATHER);
        assert!(saves.begin(SECOND));
        saves.end(SECOND, true);
        saves.change(SECOND + SECOND / 4);
        assert!(!saves.begin(SECOND + SECOND / 2));
        assert_eq!(saves.deadline(), Some(SECOND * 2));
        assert!(saves.begin(SECOND * 2));
    }

    #[test]
    fn a_start_that_follows_a_death_at_once_waits_for_one_save() {
        let mut saves = Saves::default();
        saves.change(SECOND);
        assert!(!saves.begin(SECOND), "the decision to start follows in the next turn of the loop");
        let ticket = saves.change_before(SECOND);
        assert!(saves.begin(SECOND));
        saves.end(SECOND, true);
        assert!(saves.allows(ticket) && saves.is_idle());
    }

    #[test]
    fn a_change_with_a_waiting_effect_is_saved_at_once_in_a_new_save() {
        let mut saves = Saves::default();
        saves.change(SECOND - GATHER);
        assert!(saves.begin(SECOND));
        let ticket = saves.change_before(SECOND);
        assert!(!saves.begin(SECOND), "one at a time");
        saves.end(SECOND, true);
        assert!(!saves.allows(ticket));
        assert!(saves.begin(SECOND));
        saves.end(SECOND, true);
        assert!(saves.allows(ticket));
        assert!(saves.is_idle());
    }

    #[test]
    fn a_failed_save_is_retried_and_releases_its_waiting_effects() {
        let mut saves = Saves::default();
        let ticket = saves.change_before(SECOND);
        assert!(saves.begin(SECOND));
        saves.end(SECOND + SECOND / 4, false);
        assert!(saves.allows(ticket));
        assert!(!saves.is_tried());
        assert_eq!(saves.deadline(), Some(SECOND * 2), "at the interval of all saves");
        assert!(saves.begin(SECOND * 2));
        saves.end(SECOND * 2, false);
        assert!(saves.is_tried() && !saves.is_idle(), "two failures end the wait");
        assert!(saves.begin(SECOND * 3));
        saves.end(SECOND * 3, true);
        assert!(saves.is_idle());
    }

    #[test]
    fn a_hung_disk_does_not_block_effects_for_ever() {
        let mut saves = Saves::default();
        let ticket = saves.change_before(SECOND);
        assert!(saves.begin(SECOND));
        let mut gave_up = None;
        while let Some(at) = saves.deadline() {
            gave_up = saves.expire(at).then_some(at);
        }
        assert_eq!(gave_up, Some(SECOND + SAVE_TIMEOUT));
        assert!(!saves.expire(SECOND + SAVE_TIMEOUT), "reported once");
        assert!(saves.allows(ticket));
        let later = saves.change_before(SECOND * 3);
        assert!(saves.allows(later));
        saves.end(SECOND, true);
        assert!(!saves.allows(later), "the disk answers again");
    }
}
