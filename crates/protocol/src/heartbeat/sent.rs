//! A heartbeat as an agent sends it.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use statemachine::lifecycle::State;

use super::status::WireStatus;
use crate::Timestamp;

/// The JSON-RPC method of a heartbeat.
pub const METHOD: &str = "heartbeat";

/// A heartbeat as an agent sends it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Heartbeat {
    /// The agent's ID.
    pub agent_id: String,
    /// The ID of the agent process.
    pub pid: u32,
    /// The status in the three words that every daemon knows.
    pub status: WireStatus,
    /// CPU usage of the agent since the last sample, as a share of the whole machine.
    pub cpu: Percent,
    /// Resident set size in bytes.
    pub memory: u64,
    /// When it was made.
    pub timestamp: Timestamp,
    /// The version of the agent program.
    pub version: Cow<'static, str>,
    /// The lifecycle state.
    #[serde(serialize_with = "lower_case")]
    pub state: State,
    /// The number of this start of the agent. It grows by one with each start.
    pub incarnation: u64,
    /// The number of the status that the heartbeat reports. It grows by one with each status.
    pub sequence: u64,
}

/// A percentage. The value is always within 0 to 100, because daemons refuse other values.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize)]
pub struct Percent(f64);

impl Percent {
    /// The nearest percentage to `value`. NaN becomes 0.
    #[must_use]
    pub fn saturating(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 100.0) })
    }

    /// The number, from 0 to 100.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn lower_case<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;
    use crate::heartbeat::ReceivedHeartbeat;

    fn heartbeat() -> Heartbeat {
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
    fn the_wire_format_is_as_specified() {
        assert_eq!(
            serde_json::to_string(&heartbeat()).unwrap(),
            r#"{"agent_id":"agent-001","pid":12345,"status":"running","cpu":5.0,"memory":102400,"timestamp":"2025-12-05T10:00:00.000Z","version":"1.2.3","state":"running","incarnation":7,"sequence":120}"#
        );
    }

    #[test]
    fn a_daemon_reads_what_an_agent_sends() {
        let sent = heartbeat();
        let received = ReceivedHeartbeat::from_json(&serde_json::to_vec(&sent).unwrap()).unwrap();
        assert_eq!(received.agent_id.as_deref(), Some("agent-001"));
        assert_eq!((received.pid, received.status, received.timestamp), (sent.pid, sent.status, sent.timestamp));
        assert_eq!((received.cpu, received.memory), (Some(5.0), Some(102_400)));
        assert_eq!((received.incarnation, received.sequence), (Some(7), Some(120)));
        assert_eq!(received.state.as_deref(), Some("running"));
    }

    proptest! {
        #[test]
        fn cpu_is_always_a_percentage(value in proptest::num::f64::ANY) {
            prop_assert!((0.0..=100.0).contains(&Percent::saturating(value).get()));
        }
    }
}
