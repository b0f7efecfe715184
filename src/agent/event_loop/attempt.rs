//! One attempt to deliver a heartbeat: it is counted once, and logged at level debug.

use std::time::Duration;

use crate::agent::heartbeat::scheduler::DeliveryResult;
use crate::agent::metrics::AgentMetrics;
use ops_protocol::Timestamp;
use ops_protocol::heartbeat::Heartbeat;

/// An attempt in progress. If it is dropped without a result, it counts as abandoned.
pub(super) struct Attempt {
    /// These three and the agent ID identify the heartbeat in the daemon's log too.
    made_at: Timestamp,
    incarnation: u64,
    sequence: u64,
    metrics: AgentMetrics,
    ended: bool,
}

impl Attempt {
    pub(super) fn begin(heartbeat: &Heartbeat, metrics: AgentMetrics) -> Self {
        let Heartbeat { timestamp: made_at, incarnation, sequence, .. } = *heartbeat;
        tracing::debug!(%made_at, incarnation, sequence, "heartbeat sent");
        Self { made_at, incarnation, sequence, metrics, ended: false }
    }

    pub(super) fn end(mut self, result: &DeliveryResult, took: Duration) {
        self.ended = true;
        self.metrics.heartbeat(*result == DeliveryResult::Delivered, took);
        let Self { made_at, incarnation, sequence, .. } = self;
        match result {
            DeliveryResult::Delivered => tracing::debug!(%made_at, incarnation, sequence, "heartbeat delivered"),
            DeliveryResult::Failed { detail, .. } => {
                tracing::debug!(%made_at, incarnation, sequence, error = detail, "heartbeat not delivered");
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.heartbeat_abandoned();
            let Self { made_at, incarnation, sequence, .. } = *self;
            tracing::debug!(%made_at, incarnation, sequence, "heartbeat abandoned");
        }
    }
}
