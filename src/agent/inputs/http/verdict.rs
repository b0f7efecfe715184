//! What the state means to each probe: code and word from one place, so that they cannot disagree.

use statemachine::lifecycle::State;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/health`: is the agent fit for its work?
    Health,
    /// `/livez`: does its loop serve at all?
    Live,
    /// `/readyz`: should work be sent to it?
    Ready,
}

/// The answer to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The HTTP status: 200 or 503.
    pub code: u16,
    /// The same as a word.
    pub status: &'static str,
}

/// Decides.
#[must_use]
pub const fn verdict(probe: Probe, state: State) -> Verdict {
    let (good, yes, no) = match probe {
        Probe::Health => (state.is_healthy(), "healthy", "unhealthy"),
        Probe::Live => (state.is_alive(), "alive", "dead"),
        Probe::Ready => (state.is_healthy(), "ready", "not ready"),
    };
    if good { Verdict { code: 200, status: yes } } else { Verdict { code: 503, status: no } }
}
