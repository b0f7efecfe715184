//! How the checks that ask a service are judged: HTTP, TCP and programs. One failure proves little, so they are bad after several in a row. Pure.

use std::time::Duration;

use super::{CheckLimits, CheckState, CheckStatus, Reason, Trouble};

/// The result of asking a service once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServiceResult {
    /// It works.
    Passed,
    /// It works, and has something to report.
    Warned(Reason),
    /// It does not work, and how: "answers 503", "refuses connections".
    Failed(String),
    /// The daemon could not ask, and why.
    NotTried(String),
}

/// What the checks of one service of one process found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ServiceEvidence {
    state: Option<CheckState>,
    failures: Option<Failures>,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failures {
    count: u32,
    first: Duration,
    /// When the last check began that was counted. More checks at the start do not fail an agent faster.
    last: Duration,
}

impl ServiceEvidence {
    pub(super) const fn state(&self) -> Option<&CheckState> {
        self.state.as_ref()
    }

    /// One failure is late.
    pub(super) fn trouble(&self, limits: &CheckLimits) -> Option<Trouble> {
        let Failures { count, first, .. } = self.failures?;
        Some(Trouble { since: first, is_bad: count >= limits.http_failures })
    }

    /// A check that began at `begun` has ended.
    pub(super) fn record(
        &mut self,
        now: Duration,
        begun: Duration,
        limits: &CheckLimits,
        in_grace: bool,
        result: ServiceResult,
    ) {
        let status = match result {
            ServiceResult::Passed => {
                self.failures = None;
                CheckStatus::Ok
            }
            ServiceResult::Warned(reason) => {
                self.failures = None;
                let before = self.state.take().map(|state| state.status);
                CheckStatus::Warning { reason, since: now }.continuing(before.as_ref())
            }
            // Failures that were counted before are not undone.
            ServiceResult::NotTried(detail) if in_grace || self.failures.is_some() => CheckStatus::Unknown { detail },
            ServiceResult::NotTried(detail) => CheckStatus::NotPossible { detail },
            ServiceResult::Failed(detail) if in_grace => {
                CheckStatus::Unknown { detail: format!("{detail}, but has just started") }
            }
            ServiceResult::Failed(detail) => {
                let Failures { count, first, .. } = self.count_failure(begun, limits.interval);
                let bad_from = limits.http_failures;
                if count >= bad_from {
                    CheckStatus::Bad { reason: Reason::ServiceFailed(detail), since: first }
                } else {
                    CheckStatus::Unknown { detail: format!("{detail}, {count} of {bad_from} times in a row") }
                }
            }
        };
        self.state = Some(CheckState::at(now, status));
    }

    /// Counts a failure, unless the last one that counted is less than an interval ago. A round of checks begins up to a tenth
    /// of a second early and may wait for its turn, so a little less is an interval too.
    fn count_failure(&mut self, begun: Duration, interval: Duration) -> Failures {
        let failures = match self.failures {
            None => Failures { count: 1, first: begun, last: begun },
            Some(before) if begun.saturating_sub(before.last) < interval * 4 / 5 => before,
            Some(before) => Failures { count: before.count.saturating_add(1), last: begun, ..before },
        };
        *self.failures.insert(failures)
    }
}

/// A time limit for people: `5 s`, `0.5 s`.
pub(super) fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}
