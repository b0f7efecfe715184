//! What counts for a mass failure: checks that are bad, or on the way to it.

use std::time::Duration;

/// A check that is bad or late. Late is a silence of more than half of the timeout, or a failure that is not bad yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Since when, on the monotonic clock.
    pub(crate) since: Duration,
    /// Whether the check is bad.
    pub(crate) is_bad: bool,
}

impl Trouble {
    /// The trouble of a silence that began at `from`, if it has lasted for more than half of `timeout`.
    pub(super) fn of_silence(now: Duration, from: Duration, timeout: Duration, is_bad: bool) -> Option<Self> {
        let since = from + timeout / 2;
        (now > since).then_some(Self { since, is_bad })
    }
}
