//! One attempt at a heartbeat, from its beginning to its end: each is counted once, and at level debug told of.

use std::time::Duration;

use crate::agent::cadence::Answer;
use crate::agent::metrics::Metrics;
use ops_protocol::Timestamp;
use ops_protocol::heartbeat::Heartbeat;

/// An attempt that is under way. Dropped without an answer, it counts as abandoned.
pub(super) struct Attempt {
    /// With these three and the agent's id, the daemon's log names the same heartbeat.
    made_at: Timestamp,
    incarnation: u64,
    sequence: u64,
    metrics: Metrics,
    answered: bool,
}

impl Attempt {
    pub(super) fn begin(heartbeat: &Heartbeat, metrics: Metrics) -> Self {
        let Heartbeat { timestamp: made_at, incarnation, sequence, .. } = *heartbeat;
        tracing::debug!(%made_at, incarnation, sequence, "heartbeat sent");
        Self { made_at, incarnation, sequence, metrics, answered: false }
    }

    pub(super) fn end(mut self, answer: &Answer, took: Duration) {
        self.answered = true;
        self.metrics.heartbeat(*answer == Answer::Delivered, took);
        let Self { made_at, incarnation, sequence, .. } = self;
        match answer {
            Answer::Delivered => tracing::debug!(%made_at, incarnation, sequence, "heartbeat delivered"),
            Answer::Failed { detail, .. } => {
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
