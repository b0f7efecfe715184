//! The daemon's API: HTTP and a Unix socket, both in front of one [`ControlApi`].

pub(crate) mod answers;
mod feed;
pub(crate) mod http;
pub(crate) mod large_answers;
mod log_stream;
pub(crate) mod metrics;
pub(crate) mod socket;
mod turn_times;

pub(crate) use metrics::{DaemonMetrics, HeartbeatCounters};
pub(crate) use turn_times::TurnTimes;

use super::control::{ControlApi, HeartbeatSender};
use super::registry::Rejected;
use ops_protocol::heartbeat::ReceivedHeartbeat;

/// The answer to an accepted heartbeat on both transports.
const RECEIVED: &str = "heartbeat received";

/// Passes a heartbeat to the daemon, counts the result, and logs it at level debug. The fields of the log line
/// identify the same heartbeat in the agent's log.
fn accept_heartbeat<D: ControlApi>(
    control: &D,
    counters: &HeartbeatCounters,
    received: &ReceivedHeartbeat,
    sender: &HeartbeatSender<'_>,
) -> Result<(), Rejected> {
    let ReceivedHeartbeat { pid, timestamp: made_at, incarnation, sequence, .. } = received;
    let agent_id = received.agent_id.as_deref();
    let result = control.heartbeat(received, sender);
    match &result {
        Ok(()) => {
            counters.accepted.inc();
            if let Some(cpu) = received.dropped_cpu
                && let Some(count) = counters.range_warnings.count()
            {
                tracing::warn!(agent_id, pid, cpu, count, "a heartbeat's `cpu` is not from 0 to 100: it is dropped");
            }
            tracing::debug!(agent_id, pid, %made_at, incarnation, sequence, "heartbeat accepted");
        }
        Err(reason) => {
            counters.refused.inc();
            tracing::debug!(agent_id, pid, %made_at, incarnation, sequence, %reason, "heartbeat refused");
            if let Some(count) = counters.refusal_warnings.count() {
                let sent_by = sender.peer.pid();
                tracing::warn!(agent_id, pid, sent_by, count, %reason, "heartbeats are refused");
            }
        }
    }
    result
}
