//! What the state means to each probe: code and word from one place, so that they cannot disagree.

use statemachine::lifecycle::State;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthEndpoint {
    /// `/health`: is the agent fit for its work?
    Health,
    /// `/livez`: does its loop serve at all?
    Live,
    /// `/readyz`: should work be sent to it?
    Ready,
}

/// The answer to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthStatus {
    /// The HTTP status: 200 or 503.
    pub code: u16,
    /// The same as a word.
    pub status: &'static str,
}

/// Decides.
#[must_use]
pub const fn health_status(probe: HealthEndpoint, state: State) -> HealthStatus {
    let (good, yes, no) = match probe {
        HealthEndpoint::Health => (state.is_healthy(), "healthy", "unhealthy"),
        HealthEndpoint::Live => (state.is_alive(), "alive", "dead"),
        HealthEndpoint::Ready => (state.is_healthy(), "ready", "not ready"),
    };
    if good { HealthStatus { code: 200, status: yes } } else { HealthStatus { code: 503, status: no } }
}
