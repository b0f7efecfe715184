//! The daemon's faces to the outside: HTTP and a Unix socket, both in front of one [`ControlApi`].

pub(crate) mod errors;
pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod socket;

pub(crate) use metrics::{DaemonMetrics, HeartbeatCounters};

use super::control::ControlApi;
use super::registry::{HeartbeatFacts, Rejected};
use ops_protocol::heartbeat::ReceivedHeartbeat;

/// What an accepted heartbeat is told, on either way.
const RECEIVED: &str = "heartbeat received";

/// Hands a heartbeat in, before it is answered: counts what becomes of it, and at level debug tells of it, by what the
/// agent's log names the same one by.
fn hand_in<D: ControlApi>(
    control: &D,
    heard: &HeartbeatCounters,
    received: &ReceivedHeartbeat,
) -> Result<(), Rejected> {
    let ReceivedHeartbeat { pid, timestamp: made_at, incarnation, sequence, .. } = received;
    let agent_id = received.agent_id.as_deref();
    let outcome = control.heartbeat(agent_id, &HeartbeatFacts::from(received));
    match &outcome {
        Ok(()) => {
            heard.accepted.inc();
            tracing::debug!(agent_id, pid, %made_at, incarnation, sequence, "heartbeat accepted");
        }
        Err(reason) => {
            heard.refused.inc();
            tracing::debug!(agent_id, pid, %made_at, incarnation, sequence, %reason, "heartbeat refused");
        }
    }
    outcome
}
