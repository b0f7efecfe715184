//! The check of heartbeats: whether the agent still sends them, by the daemon's own clock.

use std::time::Duration;

use super::{CheckState, CheckStatus, Reason, Trouble};

/// The remedy for a program that sends no heartbeats at all.
pub(super) const NONE_EXPECTED: &str = "if it sends none, set `heartbeat_timeout: 0`";

/// The last heartbeat of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastHeartbeat {
    pub(super) at: Duration,
    /// Since when heartbeats report that the agent is degraded.
    degraded_since: Option<Duration>,
}

impl LastHeartbeat {
    /// A heartbeat at `now` that follows `before`.
    pub(super) fn new(now: Duration, degraded: bool, before: Option<Self>) -> Self {
        let degraded_before = before.and_then(|before| before.degraded_since);
        Self { at: now, degraded_since: degraded.then(|| degraded_before.unwrap_or(now)) }
    }
}

/// The moment from which on silence is bad. Silence counts from the last heartbeat, or from the end of the start grace.
pub(super) fn silent_from(last: Option<LastHeartbeat>, grace_until: Duration, timeout: Duration) -> Duration {
    silent_since(last, grace_until) + timeout
}

/// The last heartbeat, or the end of the start grace.
fn silent_since(last: Option<LastHeartbeat>, grace_until: Duration) -> Duration {
    last.map_or(grace_until, |last| last.at)
}

/// Whether the silence is bad or late.
pub(super) fn trouble(
    now: Duration,
    timeout: Option<Duration>,
    last: Option<LastHeartbeat>,
    grace_until: Duration,
) -> Option<Trouble> {
    let timeout = timeout?;
    Trouble::of_silence(now, silent_since(last, grace_until), timeout, now >= silent_from(last, grace_until, timeout))
}

/// Judges at the present time, because silence causes no event.
pub(super) fn judge(
    now: Duration,
    timeout: Option<Duration>,
    last: Option<LastHeartbeat>,
    grace_until: Duration,
) -> CheckState {
    let Some(timeout) = timeout else { return CheckState::OFF };
    let status = match last {
        _ if now >= silent_from(last, grace_until, timeout) => {
            let reason = if last.is_some() { Reason::Silent } else { Reason::NeverReceived };
            CheckStatus::Bad { reason, since: silent_since(last, grace_until) }
        }
        None => CheckStatus::Unknown { detail: format!("none yet ({NONE_EXPECTED})") },
        Some(LastHeartbeat { degraded_since: Some(since), .. }) => {
            CheckStatus::Warning { reason: Reason::Degraded(None), since }
        }
        Some(_) => CheckStatus::Ok,
    };
    CheckState::at(now, status)
}
