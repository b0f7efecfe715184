//! The metric of how long one turn of the loop keeps everything else waiting.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, Result};

/// The upper bounds of the buckets, in seconds. No turn should be in the last ones, whatever the number of agents.
const BOUNDS: [f64; 9] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5];

/// The CPU times of the turns of the loop. Clones share them.
///
/// CPU time, because the time of day also contains what other programs of the host take.
#[derive(Debug, Clone)]
pub(crate) struct TurnTimes(Histogram);

impl TurnTimes {
    /// No turn yet.
    ///
    /// # Errors
    ///
    /// If the metric has no valid name. Tests exclude that.
    pub(crate) fn new() -> Result<Self> {
        let help = "CPU time of one turn of the loop, for which everything else has to wait.";
        let options = HistogramOpts::new("ops_daemon_loop_turn_cpu_seconds", help);
        Histogram::with_opts(options.buckets(BOUNDS.to_vec())).map(Self)
    }

    /// A turn has ended.
    pub(crate) fn observe(&self, cpu_time: Duration) {
        self.0.observe(cpu_time.as_secs_f64());
    }

    /// The metric.
    pub(super) fn collector(&self) -> Histogram {
        self.0.clone()
    }
}
