//! The status word of a heartbeat.

use serde::{Deserialize, Serialize};
use statemachine::lifecycle::State;

/// The status word in a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireStatus {
    /// The agent is running without faults.
    Running,
    /// The agent stops. This is the last heartbeat, or one of the last.
    Stopping,
    /// The agent is alive, but not ready or degraded.
    Error,
}

impl WireStatus {
    /// The word for a lifecycle state. States in which no heartbeat is sent have a word too, and never `running`.
    #[must_use]
    pub const fn of(state: State) -> Self {
        match state {
            State::Running => Self::Running,
            State::Stopping | State::Stopped => Self::Stopping,
            State::Starting | State::Degraded => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_state_running_has_the_word_running() {
        let statuses: Vec<WireStatus> =
            [State::Starting, State::Running, State::Degraded, State::Stopping, State::Stopped]
                .map(WireStatus::of)
                .into();
        use WireStatus::{Error, Running, Stopping};
        assert_eq!(statuses, [Error, Running, Error, Stopping, Stopping]);
    }
}
