//! What the state means to each health endpoint. Code and word come from one place, so they cannot disagree.

use statemachine::lifecycle::State;

/// A health endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthEndpoint {
    /// `/health`: whether the agent is healthy.
    Health,
    /// `/livez`: whether the agent is alive.
    Live,
    /// `/readyz`: whether the agent is ready for work.
    Ready,
}

/// The response of a health endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthStatus {
    /// The HTTP status: 200 or 503.
    pub code: u16,
    /// The same as a word.
    pub status: &'static str,
}

/// The response of `endpoint` in `state`.
#[must_use]
pub const fn health_status(endpoint: HealthEndpoint, state: State) -> HealthStatus {
    let (good, yes, no) = match endpoint {
        HealthEndpoint::Health => (state.is_healthy(), "healthy", "unhealthy"),
        HealthEndpoint::Live => (state.is_alive(), "alive", "dead"),
        HealthEndpoint::Ready => (state.is_healthy(), "ready", "not ready"),
    };
    if good { HealthStatus { code: 200, status: yes } } else { HealthStatus { code: 503, status: no } }
}
