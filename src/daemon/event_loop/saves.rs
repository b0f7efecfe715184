//! When the registry is saved, and what waits for that. Pure.
//!
//! A change that nothing waits for is saved at most once a second. One that a start or a signal waits for is saved at
//! once, together with whatever else has changed; one save at a time, so that many at once share one.

use std::time::Duration;

use ops_runtime::stall_deadline::StallDeadline;

/// How long effects wait for the disk before they are carried out without it.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// From one save that nothing waits for to the next.
const PACE: Duration = Duration::from_secs(1);

/// A save, in the order of their beginnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The saves, past and to come.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// How many have begun.
    begun: u64,
    /// How many have ended.
    ended: u64,
    /// When the last began.
    last: Option<Duration>,
    /// When the next is to begin.
    due: Option<Duration>,
    /// With the disk, during the present one.
    patience: Option<StallDeadline>,
    /// How many have failed since the last that did not.
    failures: u32,
}

impl Saves {
    /// Something has changed. It will be saved soon.
    pub(super) fn change(&mut self, now: Duration) {
        let soon = self.last.map_or(now, |last| (last + PACE).max(now));
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// Something has changed that has to be saved before something else is done. The ticket says when that is so.
    pub(super) fn change_before(&mut self, now: Duration) -> Ticket {
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
        Ticket(self.begun + 1)
    }

    /// Whether what waits for this save can go on. If the disk does not answer, nothing waits for it.
    pub(super) fn lets_through(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.ended || self.is_overdue()
    }

    /// Begins a save if one is due and none is under way.
    pub(super) fn begin(&mut self, now: Duration) -> bool {
        let begins = self.begun == self.ended && self.due.is_some_and(|due| due <= now);
        if begins {
            self.begun += 1;
            self.due = None;
            self.last = Some(now);
            self.patience = Some(StallDeadline::begin(now, PATIENCE));
        }
        begins
    }

    /// The save under way has ended. One that failed is tried again, whether or not anything else changes.
    pub(super) fn end(&mut self, now: Duration, well: bool) {
        self.ended = self.begun;
        self.patience = None;
        self.failures = if well { 0 } else { self.failures + 1 };
        if !well {
            self.change(now);
        }
    }

    /// Gives up waiting if the disk has had long enough. `true` if that is new.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        self.patience.as_mut().is_some_and(|patience| patience.expires(now))
    }

    /// Whether everything that has changed is saved, or has been tried twice to no avail: one error does not cost the last
    /// save of all.
    pub(super) const fn is_tried(&self) -> bool {
        self.begun == self.ended && (self.failures > 1 || self.due.is_none())
    }

    /// Whether everything that has changed is saved.
    pub(super) const fn is_idle(&self) -> bool {
        self.is_tried() && self.failures == 0
    }

    /// When [`Self::begin`] or [`Self::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        if self.begun == self.ended { self.due } else { self.patience.and_then(|patience| patience.deadline()) }
    }

    /// The disk has kept the present one waiting for too long.
    fn is_overdue(&self) -> bool {
        self.patience.is_some_and(|patience| patience.has_expired())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_nothing_waits_for_is_saved_once_a_second() {
        let mut saves = Saves::default();
        saves.change(SECOND);
        assert!(saves.begin(SECOND));
        saves.end(SECOND, true);
        saves.change(SECOND + SECOND / 4);
        assert!(!saves.begin(SECOND + SECOND / 2));
        assert_eq!(saves.deadline(), Some(SECOND * 2));
        assert!(saves.begin(SECOND * 2));
    }

    #[test]
    fn what_something_waits_for_is_saved_at_once_but_not_by_a_save_that_began_before() {
        let mut saves = Saves::default();
        saves.change(SECOND);
        assert!(saves.begin(SECOND));
        let ticket = saves.change_before(SECOND);
        assert!(!saves.begin(SECOND), "one at a time");
        saves.end(SECOND, true);
        assert!(!saves.lets_through(ticket));
        assert!(saves.begin(SECOND));
        saves.end(SECOND, true);
        assert!(saves.lets_through(ticket));
        assert!(saves.is_idle());
    }

    #[test]
    fn a_save_that_failed_is_tried_again_and_lets_through_who_waits_for_it() {
        let mut saves = Saves::default();
        let ticket = saves.change_before(SECOND);
        assert!(saves.begin(SECOND));
        saves.end(SECOND + SECOND / 4, false);
        assert!(saves.lets_through(ticket));
        assert!(!saves.is_tried());
        assert_eq!(saves.deadline(), Some(SECOND * 2), "at the pace of all saves");
        assert!(saves.begin(SECOND * 2));
        saves.end(SECOND * 2, false);
        assert!(saves.is_tried() && !saves.is_idle(), "twice is enough to leave without it");
        assert!(saves.begin(SECOND * 3));
        saves.end(SECOND * 3, true);
        assert!(saves.is_idle());
    }

    #[test]
    fn a_disk_that_does_not_answer_holds_nothing_up_for_ever() {
        let mut saves = Saves::default();
        let ticket = saves.change_before(SECOND);
        assert!(saves.begin(SECOND));
        let mut gave_up = None;
        while let Some(at) = saves.deadline() {
            gave_up = saves.expire(at).then_some(at);
        }
        assert_eq!(gave_up, Some(SECOND + PATIENCE));
        assert!(!saves.expire(SECOND + PATIENCE), "it is said once");
        assert!(saves.lets_through(ticket));
        let later = saves.change_before(SECOND * 3);
        assert!(saves.lets_through(later));
        saves.end(SECOND, true);
        assert!(!saves.lets_through(later), "the disk is back");
    }
}
