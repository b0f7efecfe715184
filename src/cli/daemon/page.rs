//! What people read: the agents in a table, and one agent's signals. What a daemon says is data: made fit for a terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Deserialize;

use ops_protocol::verdict::Elapsed;

/// How the daemon is, as it says.
#[derive(Debug, Deserialize)]
pub(super) struct Health {
    pub(super) healthy: bool,
    pub(super) faults: Vec<String>,
    pub(super) held: Option<String>,
    pub(super) agents: BTreeMap<String, usize>,
    pub(super) strays: u64,
    pub(super) uptime_s: u64,
    pub(super) pid: u32,
    pub(super) version: String,
}

/// How an agent is, as the daemon says.
#[derive(Debug, Deserialize)]
pub(super) struct Agent {
    pub(super) agent_id: String,
    pub(super) state: String,
    pub(super) since: ops_protocol::Timestamp,
    pub(super) why: String,
    pub(super) wanted: bool,
    pub(super) enabled: bool,
    pub(super) pid: Option<u32>,
    pub(super) restarts: u64,
    pub(super) last_heartbeat: Option<ops_protocol::Timestamp>,
    pub(super) cpu_percent: Option<f64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) signals: Vec<Signal>,
}

/// One of its signals.
#[derive(Debug, Deserialize)]
pub(super) struct Signal {
    pub(super) check: String,
    pub(super) verdict: String,
    pub(super) detail: Option<String>,
    pub(super) for_s: Option<f64>,
    pub(super) looked_s: Option<f64>,
}

impl Agent {
    /// Running, or stopped because somebody wanted that.
    pub(super) fn is_well(&self) -> bool {
        match self.state.as_str() {
            "running" => true,
            "stopped" => !self.wanted || !self.enabled,
            _ => false,
        }
    }

    fn style(&self) -> Style {
        match self.state.as_str() {
            "running" => AnsiColor::Green.on_default(),
            "stopped" if self.is_well() => Style::new().dimmed(),
            "starting" | "stopping" => AnsiColor::Yellow.on_default(),
            _ => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// All agents.
pub(super) fn overview(daemon: &Health, agents: &[Agent]) -> String {
    let counts: Vec<String> = daemon.agents.iter().map(|(state, count)| format!("{count} {}", line(state))).collect();
    let counts = if counts.is_empty() { "no agents".to_owned() } else { counts.join(", ") };
    let all_well = daemon.healthy && agents.iter().all(Agent::is_well);
    let style = if all_well { AnsiColor::Green } else { AnsiColor::Red }.on_default().bold();
    let up = Elapsed(Duration::from_secs(daemon.uptime_s));
    let (pid, version) = (daemon.pid, line(&daemon.version));
    let mut page = format!("{style}{counts}{style:#}  (daemon pid {pid}, up {up}, version {version})\n");
    let bold = AnsiColor::Red.on_default();
    for fault in &daemon.faults {
        page.push_str(&format!("  {bold}fault{bold:#}  {}\n", line(fault)));
    }
    if let Some(held) = &daemon.held {
        page.push_str(&format!("  {bold}restarts are held{bold:#}  {}\n", line(held)));
    }
    if daemon.strays > 0 {
        page.push_str(&format!("  {} heartbeats from agents that are not known here\n", daemon.strays));
    }
    if agents.is_empty() {
        return page;
    }
    let plain = Style::new();
    let dim = plain.dimmed();
    let titles = ["AGENT", "STATE", "SINCE", "PID", "RESTARTS", "HEARTBEAT", "CPU", "MEMORY", "WHY"];
    let mut rows = vec![titles.map(|title| (title.to_owned(), dim))];
    rows.extend(agents.iter().map(|agent| {
        let cells = row(agent);
        let mut column = 0;
        cells.map(|cell| {
            column += 1;
            (cell, if column == 2 { agent.style() } else { plain })
        })
    }));
    page.push_str(&table(&rows));
    page
}

fn row(agent: &Agent) -> [String; 9] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        line(&agent.agent_id),
        line(&agent.state),
        ago(agent.since),
        or_dash(agent.pid.map(|pid| pid.to_string())),
        agent.restarts.to_string(),
        or_dash(agent.last_heartbeat.map(|at| format!("{} ago", ago(at)))),
        or_dash(agent.cpu_percent.map(|percent| format!("{percent:.1}%"))),
        or_dash(agent.memory_bytes.map(|bytes| format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0)))),
        if agent.state == "running" { String::new() } else { line(&agent.why) },
    ]
}

/// One agent's signals.
pub(super) fn signals(agent: &Agent) -> String {
    let style = agent.style().bold();
    let mut page = format!(
        "{}: {style}{}{style:#} for {}\n  {}\n\n",
        line(&agent.agent_id),
        line(&agent.state),
        ago(agent.since),
        line(&agent.why)
    );
    let plain = Style::new();
    let dim = plain.dimmed();
    let mut rows = vec![["SIGNAL", "VERDICT", "FOR", "LOOKED", "DETAIL"].map(|title| (title.to_owned(), dim))];
    rows.extend(agent.signals.iter().map(|signal| {
        let verdict = match signal.verdict.as_str() {
            "ok" => AnsiColor::Green.on_default(),
            "bad" => AnsiColor::Red.on_default().bold(),
            "off" => dim,
            _ => AnsiColor::Yellow.on_default(),
        };
        [
            (line(&signal.check), plain),
            (line(&signal.verdict), verdict),
            (signal.for_s.map_or_else(|| "-".to_owned(), seconds), plain),
            (signal.looked_s.map_or_else(|| "-".to_owned(), |age| format!("{} ago", seconds(age))), plain),
            (signal.detail.as_deref().map(line).unwrap_or_default(), plain),
        ]
    }));
    page.push_str(&table(&rows));
    page
}

/// Cells in columns as wide as their widest.
fn table<const N: usize>(rows: &[[(String, Style); N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, (cell, _)) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut out = String::from("  ");
        for (width, (cell, style)) in widths.iter().zip(row) {
            let pad = " ".repeat(width - cell.chars().count() + 2);
            out.push_str(&format!("{style}{cell}{style:#}{pad}"));
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

fn ago(at: ops_protocol::Timestamp) -> String {
    // By the wall clock, for people. A clock that was set back makes it nothing, never negative.
    Elapsed(ops_runtime::clock::wall().duration_since(at.0).unwrap_or_default()).to_string()
}

fn seconds(seconds: f64) -> String {
    Elapsed(Duration::try_from_secs_f64(seconds).unwrap_or_default()).to_string()
}

/// A text as it may go to a terminal: on one line, and without control characters.
fn line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
