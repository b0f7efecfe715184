//! The output of `daemon status`. Control characters in the daemon's data never reach the terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use ops_protocol::printable::on_one_line as line;
use ops_protocol::views::{AgentView, DaemonHealth};
use ops_protocol::{Elapsed, Timestamp};
use statemachine::supervision::State;

use super::order::has_finding;
use crate::cli::table::{Cell, Column, Table};
use crate::cli::text::Line;

/// The space that a page has. `None`: as much as it needs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Space {
    pub(super) columns: Option<usize>,
    pub(super) rows: Option<usize>,
}

/// The width of a column that is not shortened.
const WHOLE: usize = usize::MAX;

const COLUMNS: [Column; 10] = [
    Column { title: "AGENT", min: 20, drop: 0 },
    Column { title: "NAME", min: 12, drop: 9 },
    Column { title: "STATE", min: WHOLE, drop: 0 },
    Column { title: "SINCE", min: WHOLE, drop: 3 },
    Column { title: "PID", min: WHOLE, drop: 6 },
    Column { title: "RESTARTS", min: WHOLE, drop: 5 },
    Column { title: "HEARTBEAT", min: WHOLE, drop: 8 },
    Column { title: "CPU", min: WHOLE, drop: 4 },
    Column { title: "MEMORY", min: WHOLE, drop: 7 },
    Column { title: "WHY", min: 24, drop: 1 },
];

/// The colour of a state.
pub(super) fn state_style(agent: &AgentView) -> Style {
    match agent.state {
        State::Running => AnsiColor::Green.on_default(),
        State::Stopped if agent.is_well() => Style::new().dimmed(),
        State::Waiting | State::Starting | State::Stopping => AnsiColor::Yellow.on_default(),
        State::Stopped | State::Unhealthy | State::Backoff | State::Failed => AnsiColor::Red.on_default().bold(),
    }
}

/// The page of all agents, in their order. If there is no row for each, the first ones are shown and the rest is counted.
pub(super) fn overview(daemon: &DaemonHealth, agents: &[AgentView], space: Space) -> Vec<String> {
    let head = head(daemon, agents);
    let mut lines: Vec<String> = match space.rows {
        None => head.iter().flat_map(|line| line.wrapped(space.columns, 4)).collect(),
        Some(rows) => {
            let all = head.len();
            let fit = head.iter().take(all.min((rows / 2).max(1)));
            fit.map(|line| line.render(space.columns)).collect()
        }
    };
    if agents.is_empty() {
        return lines;
    }
    // One row is for the titles.
    let room = space.rows.map_or(agents.len(), |rows| rows.saturating_sub(lines.len() + 1));
    let shown = if room < agents.len() { room.saturating_sub(1) } else { agents.len() };
    let (shown, hidden) = agents.split_at(shown);
    let has_names = agents.iter().any(has_name);
    let columns: Vec<Column> = COLUMNS.into_iter().filter(|column| has_names || column.title != "NAME").collect();
    let rows = shown.iter().map(|agent| row(agent, has_names)).collect();
    lines.extend(Table::new(&columns, rows).lines(space.columns, false));
    if !hidden.is_empty() {
        lines.push(Line::plain(format!("  {}", more(hidden))).render(space.columns));
    }
    lines.truncate(space.rows.unwrap_or(usize::MAX));
    lines
}

/// What the rows that do not fit hold.
fn more(hidden: &[AgentView]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for agent in hidden {
        *counts.entry(agent.state.as_str()).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    format!("{} more: {}", hidden.len(), counts.join(", "))
}

/// The lines above the table.
fn head(daemon: &DaemonHealth, agents: &[AgentView]) -> Vec<Line> {
    let counts: Vec<String> = daemon.agents.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let counts = if counts.is_empty() { "no agents".to_owned() } else { counts.join(", ") };
    let all_well = daemon.healthy && agents.iter().all(AgentView::is_well);
    let style = if all_well { AnsiColor::Green } else { AnsiColor::Red }.on_default().bold();
    let up = Elapsed(Duration::from_secs(daemon.uptime_s));
    let (pid, version, plain) = (daemon.pid, line(&daemon.version), Style::new());
    let own = format!("  (daemon pid {pid}, up {up}, version {version})");
    let mut lines = vec![Line::default().then(counts, style).then(own, plain)];
    let red = AnsiColor::Red.on_default();
    let mut alarm = |title: &str, text: String| {
        lines.push(Line::plain("  ").then(title, red).then(format!("  {text}"), plain));
    };
    for fault in &daemon.faults {
        alarm("fault", line(fault));
    }
    if let Some(held) = &daemon.held {
        alarm("restarts are held", line(held));
    }
    if daemon.held_agents > 0 {
        alarm("held", format!("an operator holds the restarts of {} agents", daemon.held_agents));
    }
    if let Some(refused) = &daemon.reload_refused {
        let (ago, reason) = (ago(refused.at), line(&refused.reason));
        alarm("reload refused", format!("{ago} ago, nothing was changed: {reason}"));
    }
    if let Some(last) = daemon.last_reload.as_ref().filter(|last| last.success) {
        lines.push(Line::plain(format!("  reloaded {} ago: {}", ago(last.at), line(&last.message))));
    }
    if daemon.strays > 0 {
        lines.push(Line::plain(format!("  {} heartbeats from unknown agents", daemon.strays)));
    }
    lines
}

/// Whether the configuration gives the agent a name of its own.
pub(super) fn has_name(agent: &AgentView) -> bool {
    !agent.name.is_empty() && agent.name != agent.agent_id
}

fn row(agent: &AgentView, has_names: bool) -> Vec<Cell> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let why = match &agent.hold {
        Some(hold) if agent.state == State::Running => format!("restarts are held by {}", line(&hold.text)),
        _ if agent.state == State::Running && !has_finding(agent) => String::new(),
        _ => line(&agent.why),
    };
    let name = if has_name(agent) { line(&agent.name) } else { String::new() };
    let plain = Style::new();
    let mut cells = vec![(line(&agent.agent_id), plain)];
    if has_names {
        cells.push((name, plain));
    }
    cells.push((agent.state.as_str().to_owned(), state_style(agent)));
    let rest = [
        ago(agent.since),
        or_dash(agent.pid.map(|pid| pid.to_string())),
        agent.restarts.to_string(),
        or_dash(agent.last_heartbeat.map(|at| format!("{} ago", ago(at)))),
        or_dash(agent.cpu_percent.map(|percent| format!("{percent:.1}%"))),
        or_dash(agent.memory_bytes.map(|bytes| format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0)))),
        why,
    ];
    cells.extend(rest.map(|text| (text, plain)));
    cells
}

pub(super) fn ago(at: Timestamp) -> String {
    // If the wall clock was set back, the age is zero.
    Elapsed(ops_runtime::clock::wall().duration_since(at.0).unwrap_or_default()).to_string()
}
