//! The agent's metrics, in the Prometheus text format.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result, TextEncoder,
};
use statemachine::lifecycle::{FaultName, Lifecycle, State};
use statemachine::table::{Table as _, edges};
use strum::VariantArray as _;

use super::snapshot::Snapshot;
use ops_runtime::process_metrics::ProcessMetrics;

/// Upper bounds of the heartbeat latency histogram in seconds, from a socket on the same host to the default timeout.
const LATENCY: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0];

/// The result of an attempt that a reload or a stop ended.
const ABANDONED: &str = "abandoned";

/// The metric that is absent before the first heartbeat.
const LAST_HEARTBEAT: &str = "ops_agent_heartbeat_last_success_timestamp_seconds";

/// The counters of one agent. Clones share them.
#[derive(Debug, Clone)]
pub struct AgentMetrics {
    registry: Registry,
    state: IntGaugeVec,
    fault: IntGaugeVec,
    incarnation: IntGauge,
    sequence: IntGauge,
    last_heartbeat: IntGauge,
    consecutive_failures: IntGauge,
    transitions: IntCounterVec,
    heartbeats: IntCounterVec,
    latency: Histogram,
    writes: IntCounterVec,
    reloads: IntCounterVec,
    refused: IntCounter,
    tokens_refused: IntCounter,
    log_lines_lost: IntCounter,
    log_lines_pending: IntGauge,
}

impl AgentMetrics {
    /// All metrics at zero. Every label value exists from the start, so that a rate includes the first event.
    ///
    /// # Errors
    ///
    /// Two metrics with one name. A test proves that there are none.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let metrics = Self {
            state: gauges("ops_agent_state", "The lifecycle state: 1 for the present one, 0 for the others.", "state")?,
            fault: gauges("ops_agent_fault", "The named faults: 1 while a fault is raised, else 0.", "fault")?,
            incarnation: IntGauge::new("ops_agent_incarnation", "The number of this start of the agent.")?,
            sequence: IntGauge::new("ops_agent_status_sequence", "The sequence number of the published status.")?,
            last_heartbeat: IntGauge::new(
                LAST_HEARTBEAT,
                "When the daemon last acknowledged a heartbeat, in Unix time; absent before the first.",
            )?,
            consecutive_failures: IntGauge::new(
                "ops_agent_heartbeat_consecutive_failures",
                "Heartbeats that failed since the last success.",
            )?,
            transitions: IntCounterVec::new(
                Opts::new("ops_agent_transitions_total", "Transitions of the lifecycle, by states."),
                &["from", "to"],
            )?,
            heartbeats: counters("ops_agent_heartbeats_total", "Attempts at a heartbeat, by result.")?,
            latency: Histogram::with_opts(
                HistogramOpts::new("ops_agent_heartbeat_duration_seconds", "How long an attempt at a heartbeat took.")
                    .buckets(LATENCY.to_vec()),
            )?,
            writes: counters("ops_agent_status_writes_total", "Writes of the status file, by result.")?,
            reloads: counters("ops_agent_reloads_total", "Reloads of the configuration, by result.")?,
            refused: IntCounter::new(
                "ops_agent_events_refused_total",
                "Events that cannot happen in the state in which they arrived.",
            )?,
            tokens_refused: IntCounter::new("ops_agent_tokens_refused_total", "Requests with a wrong token.")?,
            log_lines_lost: IntCounter::new("ops_agent_log_lines_lost_total", "Log lines that could not be written.")?,
            log_lines_pending: IntGauge::new("ops_agent_log_lines_pending", "Log lines that are not written yet.")?,
            registry,
        };
        metrics.register()?;
        metrics.begin_at_zero();
        Ok(metrics)
    }

    /// All metrics of `snapshot` in the text format.
    ///
    /// # Errors
    ///
    /// A metric that the format cannot express. A test proves that there is none.
    pub fn render(&self, snapshot: &Snapshot) -> Result<String> {
        let lifecycle = &snapshot.lifecycle;
        for &state in State::VARIANTS {
            self.state.with_label_values(&[state.as_str()]).set(i64::from(lifecycle.state() == state));
        }
        for &name in FaultName::VARIANTS {
            self.fault.with_label_values(&[name.as_str()]).set(i64::from(lifecycle.faults().contains(name)));
        }
        self.incarnation.set(signed(lifecycle.incarnation()));
        self.sequence.set(signed(lifecycle.sequence()));
        self.consecutive_failures.set(i64::from(snapshot.heartbeat.consecutive_failures));
        let last = snapshot.heartbeat.last_success.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        self.last_heartbeat.set(last.map_or(0, |since| signed(since.as_secs())));
        self.tokens_refused.inc_by(ops_http::token::refused().saturating_sub(self.tokens_refused.get()));
        let lost = ops_runtime::logging::lines_lost();
        self.log_lines_lost.inc_by(lost.saturating_sub(self.log_lines_lost.get()));
        self.log_lines_pending.set(i64::try_from(ops_runtime::logging::lines_pending()).unwrap_or(i64::MAX));
        let mut families = self.registry.gather();
        if last.is_none() {
            // A standalone agent has no last heartbeat. 0 would be an age of decades.
            families.retain(|family| family.name() != LAST_HEARTBEAT);
        }
        TextEncoder::new().encode_to_string(&families)
    }

    pub(super) fn transition(&self, from: State, to: State) {
        self.transitions.with_label_values(&[from.as_str(), to.as_str()]).inc();
    }

    pub(super) fn heartbeat(&self, delivered: bool, took: Duration) {
        self.heartbeats.with_label_values(&[result(delivered)]).inc();
        self.latency.observe(took.as_secs_f64());
    }

    pub(super) fn heartbeat_abandoned(&self) {
        self.heartbeats.with_label_values(&[ABANDONED]).inc();
    }

    pub(super) fn written(&self, ok: bool) {
        self.writes.with_label_values(&[result(ok)]).inc();
    }

    pub(super) fn reloaded(&self, ok: bool) {
        self.reloads.with_label_values(&[result(ok)]).inc();
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }

    fn register(&self) -> Result<()> {
        let build = IntGauge::with_opts(
            Opts::new("ops_agent_build_info", "The version of the agent; always 1.")
                .const_label("version", crate::agent::version()),
        )?;
        build.set(1);
        let all: [Box<dyn Collector>; 17] = [
            Box::new(build),
            Box::new(ProcessMetrics::for_self()),
            Box::new(self.state.clone()),
            Box::new(self.fault.clone()),
            Box::new(self.incarnation.clone()),
            Box::new(self.sequence.clone()),
            Box::new(self.last_heartbeat.clone()),
            Box::new(self.consecutive_failures.clone()),
            Box::new(self.transitions.clone()),
            Box::new(self.heartbeats.clone()),
            Box::new(self.latency.clone()),
            Box::new(self.writes.clone()),
            Box::new(self.reloads.clone()),
            Box::new(self.refused.clone()),
            Box::new(self.tokens_refused.clone()),
            Box::new(self.log_lines_lost.clone()),
            Box::new(self.log_lines_pending.clone()),
        ];
        all.into_iter().try_for_each(|metric| self.registry.register(metric))
    }

    fn begin_at_zero(&self) {
        for edge in edges::<Lifecycle>() {
            let _ = self.transitions.with_label_values(&[edge.from.as_str(), edge.to.as_str()]);
        }
        for counters in [&self.heartbeats, &self.writes, &self.reloads] {
            for ok in [true, false] {
                let _ = counters.with_label_values(&[result(ok)]);
            }
        }
        let _ = self.heartbeats.with_label_values(&[ABANDONED]);
        debug_assert_eq!(State::VARIANTS, Lifecycle::STATES);
    }
}

fn gauges(name: &str, help: &str, label: &str) -> Result<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(name, help), &[label])
}

fn counters(name: &str, help: &str) -> Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), &["result"])
}

const fn result(ok: bool) -> &'static str {
    if ok { "success" } else { "failure" }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
