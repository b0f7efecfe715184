//! The heartbeats in an agent's name that were refused, for the operator.

use statemachine::time::Now;

use super::Rejected;
use ops_protocol::views::RefusedView;

/// How many were refused for each reason, and the last one.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusedHeartbeats {
    counts: [u64; Rejected::NAMES.len()],
    last: Option<Refusal>,
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    at: Now,
    pid: u32,
    why: Rejected,
}

impl RefusedHeartbeats {
    pub(super) const fn add(&mut self, at: Now, pid: u32, why: Rejected) {
        let count = &mut self.counts[why.index()];
        *count = count.saturating_add(1);
        self.last = Some(Refusal { at, pid, why });
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The reasons with their numbers. Those that did not occur are left out.
    pub(super) fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Rejected::NAMES.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// The last one, unless it is older than `max_age`.
    pub(super) fn recent(&self, now: Now, max_age: std::time::Duration) -> Option<String> {
        let Refusal { at, pid, why } = self.last?;
        let age = now.monotonic.saturating_sub(at.monotonic);
        (age <= max_age).then(|| format!("a heartbeat of pid {pid} was refused {} s ago: {why}", age.as_secs()))
    }

    pub(super) fn view(&self) -> Option<RefusedView> {
        let Refusal { at, pid, why } = self.last?;
        Some(RefusedView { at: at.wall.into(), pid, reason: why.name().into(), message: why.to_string() })
    }
}
