//! The heartbeat: what an agent tells its daemon, and what a daemon takes for one.

mod received;

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use statemachine::lifecycle::State;

pub use received::{Invalid, Received, is_agent_id, is_object};

use super::Timestamp;

/// The method name of a heartbeat over JSON-RPC.
pub const METHOD: &str = "heartbeat";

/// One sign of life, as an agent sends it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Heartbeat {
    /// Who sends it.
    pub agent_id: String,
    /// The sending process.
    pub pid: u32,
    /// How it fares, in the three words that every daemon knows.
    pub status: WireStatus,
    /// Share of the whole machine since the last sample.
    pub cpu: Percent,
    /// Resident set size in bytes.
    pub memory: u64,
    /// When it was made.
    pub timestamp: Timestamp,
    /// The version of the sending program.
    pub version: Cow<'static, str>,
    /// How it fares, in the words of its lifecycle.
    #[serde(serialize_with = "lower_case")]
    pub state: State,
    /// Which start of this agent it belongs to: one more at each.
    pub incarnation: u64,
    /// Which status it shows: one more at each.
    pub sequence: u64,
}

/// The status of an agent in the words of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireStatus {
    /// All is well.
    Running,
    /// This is, or is about to be, the last heartbeat.
    Stopping,
    /// Alive, but something is wrong.
    Error,
}

impl WireStatus {
    /// The word for a lifecycle state. One that sends no heartbeats has no word of its own: it is not `running`.
    #[must_use]
    pub const fn of(state: State) -> Self {
        match state {
            State::Running => Self::Running,
            State::Stopping | State::Stopped => Self::Stopping,
            State::Starting | State::Degraded => Self::Error,
        }
    }
}

/// A share in percent: always a number from 0 to 100, because daemons refuse anything else.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize)]
pub struct Percent(f64);

impl Percent {
    /// The nearest share to `value`; 0 for what is not a number.
    #[must_use]
    pub fn saturating(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 100.0) })
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

// serde hands serializers a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn lower_case<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;

    fn beat() -> Heartbeat {
        Heartbeat {
            agent_id: "agent-001".into(),
            pid: 12345,
            status: WireStatus::of(State::Running),
            cpu: Percent::saturating(5.0),
            memory: 102_400,
            timestamp: Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_928_800)),
            version: "1.2.3".into(),
            state: State::Running,
            incarnation: 7,
            sequence: 120,
        }
    }

    #[test]
    fn it_reads_on_the_wire_as_specified() {
        assert_eq!(
            serde_json::to_string(&beat()).unwrap(),
            r#"{"agent_id":"agent-001","pid":12345,"status":"running","cpu":5.0,"memory":102400,"timestamp":"2025-12-05T10:00:00.000Z","version":"1.2.3","state":"running","incarnation":7,"sequence":120}"#
        );
    }

    #[test]
    fn a_daemon_reads_back_what_an_agent_sends() {
        let sent = beat();
        let received = Received::from_json(&serde_json::to_vec(&sent).unwrap()).unwrap();
        assert_eq!(received.agent_id.as_deref(), Some("agent-001"));
        assert_eq!((received.pid, received.status, received.timestamp), (sent.pid, sent.status, sent.timestamp));
        assert_eq!((received.cpu, received.memory), (Some(5.0), Some(102_400)));
        assert_eq!((received.incarnation, received.sequence), (Some(7), Some(120)));
        assert_eq!(received.state.as_deref(), Some("running"));
    }

    #[test]
    fn only_running_is_called_running() {
        let words: Vec<WireStatus> =
            [State::Starting, State::Running, State::Degraded, State::Stopping, State::Stopped]
                .map(WireStatus::of)
                .into();
        use WireStatus::{Error, Running, Stopping};
        assert_eq!(words, [Error, Running, Error, Stopping, Stopping]);
    }

    proptest! {
        #[test]
        fn cpu_is_always_a_percentage(value in proptest::num::f64::ANY) {
            prop_assert!((0.0..=100.0).contains(&Percent::saturating(value).get()));
        }
    }
}
