//! One attempt at a heartbeat, from its beginning to its end: each is counted once, and at level debug told of.

use std::time::Duration;

use crate::agent::heartbeat::scheduler::DeliveryResult;
use crate::agent::metrics::AgentMetrics;
use ops_protocol::Timestamp;
use ops_protocol::heartbeat::Heartbeat;

/// An attempt that is under way. Dropped without an answer, it counts as abandoned.
pub(super) struct Attempt {
    /// With these three and the agent's id, the daemon's log names the same heartbeat.
    made_at: Timestamp,
    incarnation: u64,
    sequence: u64,
    metrics: AgentMetrics,
    answered: bool,
}

impl Attempt {
    pub(super) fn begin(heartbeat: &Heartbeat, metrics: AgentMetrics) -> Self {
        let Heartbeat { timestamp: made_at, incarnation, sequence, .. } = *heartbeat;
        tracing::debug!(%made_at, incarnation, sequence, "heartbeat sent");
        Self { made_at, incarnation, sequence, metrics, answered: false }
    }

    pub(super) fn end(mut self, answer: &DeliveryResult, took: Duration) {
        self.answered = true;
        self.metrics.heartbeat(*answer == DeliveryResult::Delivered, took);
        let Self { made_at, incarnation, sequence, .. } = self;
        match answer {
            DeliveryResult::Delivered => tracing::debug!(%made_at, incarnation, sequence, "heartbeat delivered"),
            DeliveryResult::Failed { detail, .. } => {
                tracing::debug!(%made_at, incarnation, sequence, error = detail, "heartbeat not delivered");
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.answered {
            self.metrics.heartbeat_abandoned();
            let Self { made_at, incarnation, sequence, .. } = *self;
            tracing::debug!(%made_at, incarnation, sequence, "heartbeat abandoned");
        }
    }
}
