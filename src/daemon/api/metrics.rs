//! `/metrics` in the Prometheus exposition format: every agent as the registry sees it, and the daemon itself.

use std::rc::Rc;
use std::time::UNIX_EPOCH;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result, TextEncoder,
};
use statemachine::supervision::State;
use strum::VariantArray as _;

use super::turn_times::TurnTimes;
use crate::daemon::control::LoopCounts;
use ops_http::log_limit::LogLimit;
use ops_http::token;
use ops_protocol::views::{AgentView, DaemonHealth};
use ops_runtime::clock;
use ops_runtime::process_metrics::ProcessMetrics;
use ops_runtime::{logging, orphans};

/// The content type of [`OwnMetrics::render`].
pub(super) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The daemon's own metrics. Clones share them.
#[derive(Debug, Clone)]
pub struct DaemonMetrics {
    registry: Registry,
    uptime: Gauge,
    held: IntGauge,
    strays: IntCounter,
    tokens_refused: IntCounter,
    reload_successful: IntGauge,
    configured_at: Gauge,
    log_lines_lost: IntCounter,
    log_lines_pending: IntGauge,
    transitions: IntCounter,
    refused_events: IntCounter,
    saves: IntCounterVec,
    orphans: IntCounter,
    hook_runs: IntCounterVec,
    hooks_pending: IntGauge,
    /// Heartbeats over HTTP.
    pub http: HeartbeatCounters,
    /// Heartbeats over the socket.
    pub socket: HeartbeatCounters,
}

/// The heartbeats of one transport, by result.
#[derive(Debug, Clone)]
pub struct HeartbeatCounters {
    /// From the agent's current process.
    pub accepted: IntCounter,
    /// From an unknown agent, or not from the agent's current process.
    pub refused: IntCounter,
    /// Not a valid heartbeat.
    pub invalid: IntCounter,
    /// The limit of warnings about refused heartbeats.
    pub refusal_warnings: Rc<LogLimit>,
    /// The limit of warnings about values out of range.
    pub range_warnings: Rc<LogLimit>,
}

impl DaemonMetrics {
    /// Metrics with the value zero.
    ///
    /// # Errors
    ///
    /// If two metrics have one name. Tests exclude that.
    pub fn new() -> Result<Self> {
        let heartbeats = IntCounterVec::new(
            Opts::new("ops_daemon_heartbeats_total", "Heartbeats received, by transport and result."),
            &["transport", "result"],
        )?;
        let metrics = Self {
            registry: Registry::new(),
            uptime: Gauge::new("ops_daemon_uptime_seconds", "Seconds since the daemon started.")?,
            held: IntGauge::new(
                "ops_daemon_restarts_held",
                "1 while restarts are held because the daemon may be at fault, else 0.",
            )?,
            strays: IntCounter::new("ops_daemon_strays_total", "Heartbeats from unknown agents.")?,
            tokens_refused: IntCounter::new("ops_daemon_tokens_refused_total", "Requests with a wrong token.")?,
            reload_successful: IntGauge::new(
                "ops_daemon_config_last_reload_successful",
                "1 unless the last reload of the configuration was refused, then 0.",
            )?,
            configured_at: Gauge::new(
                "ops_daemon_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read, in seconds since 1970.",
            )?,
            log_lines_lost: IntCounter::new("ops_daemon_log_lines_lost_total", "Log lines that could not be written.")?,
            log_lines_pending: IntGauge::new("ops_daemon_log_lines_pending", "Log lines that are not written yet.")?,
            transitions: IntCounter::new("ops_daemon_transitions_total", "Changes of the state of an agent.")?,
            refused_events: IntCounter::new(
                "ops_daemon_refused_events_total",
                "Events that an agent's state refuses. Each is a bug, and logged.",
            )?,
            saves: IntCounterVec::new(
                Opts::new("ops_daemon_registry_saves_total", "Saves of the registry by result."),
                &["result"],
            )?,
            orphans: IntCounter::new(
                "ops_daemon_orphans_reaped_total",
                "Processes that were reaped after their own parent had ended.",
            )?,
            hook_runs: IntCounterVec::new(
                Opts::new("ops_daemon_hook_runs_total", "Hooks that were told, that failed, or that were dropped."),
                &["result"],
            )?,
            hooks_pending: IntGauge::new("ops_daemon_hooks_pending", "Hooks that wait or run.")?,
            http: HeartbeatCounters::over("http", &heartbeats),
            socket: HeartbeatCounters::over("socket", &heartbeats),
        };
        let build = IntGauge::with_opts(
            Opts::new("ops_daemon_build_info", "The version of the daemon; always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build.set(1);
        let all: [Box<dyn Collector>; 17] = [
            Box::new(build),
            Box::new(ProcessMetrics::for_self()),
            Box::new(heartbeats),
            Box::new(metrics.uptime.clone()),
            Box::new(metrics.held.clone()),
            Box::new(metrics.strays.clone()),
            Box::new(metrics.tokens_refused.clone()),
            Box::new(metrics.reload_successful.clone()),
            Box::new(metrics.configured_at.clone()),
            Box::new(metrics.log_lines_lost.clone()),
            Box::new(metrics.log_lines_pending.clone()),
            Box::new(metrics.transitions.clone()),
            Box::new(metrics.refused_events.clone()),
            Box::new(metrics.saves.clone()),
            Box::new(metrics.orphans.clone()),
            Box::new(metrics.hook_runs.clone()),
            Box::new(metrics.hooks_pending.clone()),
        ];
        all.into_iter().try_for_each(|metric| metrics.registry.register(metric))?;
        Ok(metrics)
    }

    /// With the times of the loop's turns.
    ///
    /// # Errors
    ///
    /// If they are there already.
    pub(crate) fn with(self, turn_times: &TurnTimes) -> Result<Self> {
        self.registry.register(Box::new(turn_times.collector()))?;
        Ok(self)
    }

    /// The metrics of the daemon itself at this moment.
    pub(super) fn own(&self, health: &DaemonHealth, counts: LoopCounts) -> OwnMetrics {
        self.uptime.set(f64::from(u32::try_from(health.uptime_s).unwrap_or(u32::MAX)));
        self.held.set(i64::from(health.held.is_some()));
        self.reload_successful.set(i64::from(health.reload_refused.is_none()));
        let configured_at = health.configured_at.and_then(|at| at.0.duration_since(UNIX_EPOCH).ok());
        self.configured_at.set(configured_at.unwrap_or_default().as_secs_f64());
        let hooks = health.hooks.as_ref();
        let (ok, failed, dropped) = hooks.map_or((0, 0, 0), |hooks| (hooks.ok, hooks.failed, hooks.dropped));
        let pending = hooks.map_or(0, |hooks| hooks.pending);
        self.hooks_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        for (counter, total) in [
            (&self.tokens_refused, token::refused()),
            (&self.strays, health.strays),
            (&self.log_lines_lost, logging::lines_lost()),
            (&self.transitions, counts.transitions),
            (&self.refused_events, counts.refused_events),
            (&self.saves.with_label_values(&["ok"]), counts.saves),
            (&self.saves.with_label_values(&["failed"]), counts.failed_saves),
            (&self.orphans, orphans::reaped()),
            (&self.hook_runs.with_label_values(&["ok"]), ok),
            (&self.hook_runs.with_label_values(&["failed"]), failed),
            (&self.hook_runs.with_label_values(&["dropped"]), dropped),
        ] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.log_lines_pending.set(i64::try_from(logging::lines_pending()).unwrap_or(i64::MAX));
        OwnMetrics(self.registry.gather())
    }
}

/// The metrics of the daemon itself, which can be rendered on another thread.
pub(super) struct OwnMetrics(Vec<MetricFamily>);

impl OwnMetrics {
    /// All metrics in the text exposition format.
    ///
    /// # Errors
    ///
    /// If the format cannot express a metric. Tests exclude that.
    pub(super) fn render(self, agents: &[AgentView]) -> Result<String> {
        let Self(mut families) = self;
        families.extend(AgentMetrics::new()?.gather(agents)?);
        TextEncoder::new().encode_to_string(&families)
    }
}

impl HeartbeatCounters {
    fn over(transport: &str, all: &IntCounterVec) -> Self {
        let with = |result: &str| all.with_label_values(&[transport, result]);
        Self {
            accepted: with("accepted"),
            refused: with("refused"),
            invalid: with("invalid"),
            refusal_warnings: Rc::default(),
            range_warnings: Rc::default(),
        }
    }
}

/// The metrics of the agents. Each scrape builds them from the registry, so a removed agent leaves no series behind.
struct AgentMetrics {
    registry: Registry,
    state: IntGaugeVec,
    up: IntGaugeVec,
    check: IntGaugeVec,
    heartbeats: IntCounterVec,
    refused: IntCounterVec,
    restarts: IntCounterVec,
    restarts_by_reason: IntCounterVec,
    refused_by_reason: IntCounterVec,
    age: GaugeVec,
    cpu: GaugeVec,
    memory: GaugeVec,
    open_files: GaugeVec,
}

impl AgentMetrics {
    fn new() -> Result<Self> {
        let agent = ["agent_id"];
        let gauge = |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), &agent);
        let counter = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &agent);
        let counters = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &["agent_id", "reason"]);
        let set = |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        Ok(Self {
            registry: Registry::new(),
            state: set(
                "ops_daemon_agent_state",
                "The state of an agent: 1 for the current state, 0 for the others.",
                &["agent_id", "state"],
            )?,
            up: set("ops_daemon_agent_up", "1 while an agent is running and healthy, else 0.", &agent)?,
            check: set(
                "ops_daemon_agent_check_ok",
                "1 while a check of an agent passes, 0 while it fails; absent while it is off or unknown.",
                &["agent_id", "check"],
            )?,
            heartbeats: counter("ops_daemon_agent_heartbeats_total", "Heartbeats of an agent that were accepted.")?,
            refused: counter(
                "ops_daemon_agent_heartbeats_refused_total",
                "Heartbeats in the name of an agent that were refused.",
            )?,
            restarts: counter("ops_daemon_agent_restarts_total", "Restarts of an agent.")?,
            restarts_by_reason: counters(
                "ops_daemon_agent_restarts_by_reason_total",
                "Restarts of an agent by reason, as docs/SUPERVISION.md lists them.",
            )?,
            refused_by_reason: counters(
                "ops_daemon_agent_heartbeats_refused_by_reason_total",
                "Heartbeats in the name of an agent that were refused, by reason.",
            )?,
            age: gauge(
                "ops_daemon_agent_last_heartbeat_age_seconds",
                "Seconds since the last accepted heartbeat of an agent.",
            )?,
            cpu: gauge("ops_daemon_agent_cpu_percent", "CPU usage of an agent, in percent of the machine.")?,
            memory: gauge("ops_daemon_agent_resident_memory_bytes", "Resident memory of an agent, in bytes.")?,
            open_files: gauge("ops_daemon_agent_open_files", "Open files of an agent, where they are limited.")?,
        })
    }

    fn gather(self, agents: &[AgentView]) -> Result<Vec<MetricFamily>> {
        agents.iter().for_each(|agent| self.set(agent));
        let all: [Box<dyn Collector>; 12] = [
            Box::new(self.state),
            Box::new(self.up),
            Box::new(self.check),
            Box::new(self.heartbeats),
            Box::new(self.refused),
            Box::new(self.restarts),
            Box::new(self.restarts_by_reason),
            Box::new(self.refused_by_reason),
            Box::new(self.age),
            Box::new(self.cpu),
            Box::new(self.memory),
            Box::new(self.open_files),
        ];
        all.into_iter().try_for_each(|metric| self.registry.register(metric))?;
        Ok(self.registry.gather())
    }

    fn set(&self, agent: &AgentView) {
        let id = agent.agent_id.as_str();
        for &state in State::VARIANTS {
            self.state.with_label_values(&[id, state.as_str()]).set(i64::from(state == agent.state));
        }
        self.up.with_label_values(&[id]).set(i64::from(agent.state == State::Running));
        for signal in &agent.signals {
            if let Some(passes) = signal.verdict.passes() {
                self.check.with_label_values(&[id, signal.check.as_str()]).set(i64::from(passes));
            }
        }
        self.heartbeats.with_label_values(&[id]).inc_by(agent.heartbeats);
        self.refused.with_label_values(&[id]).inc_by(agent.heartbeats_rejected);
        self.restarts.with_label_values(&[id]).inc_by(agent.restarts);
        for (reason, count) in &agent.restarts_by_reason {
            self.restarts_by_reason.with_label_values(&[id, reason]).inc_by(*count);
        }
        for (reason, count) in &agent.rejected_by_reason {
            self.refused_by_reason.with_label_values(&[id, reason]).inc_by(*count);
        }
        if let Some(last) = agent.last_heartbeat {
            let age = clock::wall().duration_since(last.0).unwrap_or_default();
            self.age.with_label_values(&[id]).set(age.as_secs_f64());
        }
        if let Some(cpu) = agent.cpu_percent {
            self.cpu.with_label_values(&[id]).set(cpu);
        }
        if let Some(bytes) = agent.memory_bytes {
            self.memory.with_label_values(&[id]).set(bytes as f64);
        }
        if let Some(files) = agent.open_files {
            self.open_files.with_label_values(&[id]).set(files as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use ops_protocol::Timestamp;
    use ops_protocol::views::{Check, CheckVerdict, CheckView};

    use super::*;

    fn agent(verdicts: &[(Check, CheckVerdict)]) -> AgentView {
        let signal = |&(check, verdict)| CheckView { check, verdict, detail: None, for_s: None, looked_s: None };
        AgentView {
            agent_id: "a".to_owned(),
            name: String::new(),
            kind: "custom".into(),
            labels: BTreeMap::new(),
            state: State::Running,
            since: Timestamp(SystemTime::UNIX_EPOCH),
            cause: String::new(),
            why: String::new(),
            enabled: true,
            wanted: true,
            pid: None,
            restarts: 0,
            retries: 0,
            next_start_s: None,
            last_heartbeat: None,
            heartbeats: 0,
            heartbeats_rejected: 0,
            rejected_by_reason: BTreeMap::new(),
            last_rejected: None,
            reason: None,
            restarts_by_reason: BTreeMap::new(),
            last_exit: None,
            released: None,
            depends_on: Vec::new(),
            hold: None,
            said: None,
            log_change: None,
            cpu_percent: None,
            memory_bytes: None,
            open_files: None,
            signals: verdicts.iter().map(signal).collect(),
            history: Vec::new(),
        }
    }

    #[test]
    fn a_warning_passes_and_what_is_unknown_is_absent() {
        let verdicts = [
            (Check::Process, CheckVerdict::Ok),
            (Check::Heartbeat, CheckVerdict::Noted),
            (Check::Http, CheckVerdict::Bad),
            (Check::StatusFile, CheckVerdict::Unknown),
            (Check::Resources, CheckVerdict::Off),
        ];
        let families = AgentMetrics::new().unwrap().gather(&[agent(&verdicts)]).unwrap();
        let text = TextEncoder::new().encode_to_string(&families).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("ops_daemon_agent_check_ok{")).collect();
        let line =
            |check: &str, value: u8| format!("ops_daemon_agent_check_ok{{agent_id=\"a\",check=\"{check}\"}} {value}");
        assert_eq!(lines, [line("heartbeat", 1), line("http", 0), line("process", 1)]);
    }
}
