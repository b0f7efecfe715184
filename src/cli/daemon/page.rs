//! The output of `daemon status` and `daemon why`. Control characters in the daemon's data never reach the terminal.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use ops_protocol::Elapsed;
use ops_protocol::printable::on_one_line as line;
use ops_protocol::views::{AgentView, CheckVerdict, DaemonHealth};
use statemachine::supervision::State;

/// The colour of a state.
fn state_style(agent: &AgentView) -> Style {
    match agent.state {
        State::Running => AnsiColor::Green.on_default(),
        State::Stopped if agent.is_well() => Style::new().dimmed(),
        State::Starting | State::Stopping => AnsiColor::Yellow.on_default(),
        State::Stopped | State::Unhealthy | State::Backoff | State::Failed => AnsiColor::Red.on_default().bold(),
    }
}

/// The page of all agents.
pub(super) fn overview(daemon: &DaemonHealth, agents: &[AgentView]) -> String {
    let counts: Vec<String> = daemon.agents.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let counts = if counts.is_empty() { "no agents".to_owned() } else { counts.join(", ") };
    let all_well = daemon.healthy && agents.iter().all(AgentView::is_well);
    let style = if all_well { AnsiColor::Green } else { AnsiColor::Red }.on_default().bold();
    let up = Elapsed(Duration::from_secs(daemon.uptime_s));
    let (pid, version) = (daemon.pid, line(&daemon.version));
    let mut page = format!("{style}{counts}{style:#}  (daemon pid {pid}, up {up}, version {version})\n");
    let red = AnsiColor::Red.on_default();
    for fault in &daemon.faults {
        page.push_str(&format!("  {red}fault{red:#}  {}\n", line(fault)));
    }
    if let Some(held) = &daemon.held {
        page.push_str(&format!("  {red}restarts are held{red:#}  {}\n", line(held)));
    }
    if let Some(refused) = &daemon.reload_refused {
        let (ago, reason) = (ago(refused.at), line(&refused.reason));
        page.push_str(&format!("  {red}reload refused{red:#}  {ago} ago, nothing was changed: {reason}\n"));
    }
    if let Some(last) = daemon.last_reload.as_ref().filter(|last| last.success) {
        page.push_str(&format!("  reloaded {} ago: {}\n", ago(last.at), line(&last.message)));
    }
    if daemon.strays > 0 {
        page.push_str(&format!("  {} heartbeats from unknown agents\n", daemon.strays));
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
            (cell, if column == 2 { state_style(agent) } else { plain })
        })
    }));
    page.push_str(&table(&rows));
    page
}

fn row(agent: &AgentView) -> [String; 9] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        line(&agent.agent_id),
        agent.state.as_str().to_owned(),
        ago(agent.since),
        or_dash(agent.pid.map(|pid| pid.to_string())),
        agent.restarts.to_string(),
        or_dash(agent.last_heartbeat.map(|at| format!("{} ago", ago(at)))),
        or_dash(agent.cpu_percent.map(|percent| format!("{percent:.1}%"))),
        or_dash(agent.memory_bytes.map(|bytes| format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0)))),
        if agent.state == State::Running { String::new() } else { line(&agent.why) },
    ]
}

/// The page of one agent and its checks.
pub(super) fn checks(agent: &AgentView) -> String {
    let style = state_style(agent).bold();
    let mut page = format!(
        "{}: {style}{}{style:#} for {}\n  {}\n\n",
        line(&agent.agent_id),
        agent.state.as_str(),
        ago(agent.since),
        line(&agent.why)
    );
    let plain = Style::new();
    let dim = plain.dimmed();
    let facts: Vec<_> = past(agent).into_iter().map(|(title, fact)| [(title.to_owned(), dim), (fact, plain)]).collect();
    if !facts.is_empty() {
        page.push_str(&table(&facts));
        page.push('\n');
    }
    let mut rows = vec![["CHECK", "VERDICT", "FOR", "CHECKED", "DETAIL"].map(|title| (title.to_owned(), dim))];
    rows.extend(agent.signals.iter().map(|check| {
        let verdict = match check.verdict {
            CheckVerdict::Ok => AnsiColor::Green.on_default(),
            CheckVerdict::Bad => AnsiColor::Red.on_default().bold(),
            CheckVerdict::Off => dim,
            CheckVerdict::Noted | CheckVerdict::Unknown => AnsiColor::Yellow.on_default(),
        };
        [
            (check.check.as_str().to_owned(), plain),
            (check.verdict.as_str().to_owned(), verdict),
            (check.for_s.map_or_else(|| "-".to_owned(), seconds), plain),
            (check.looked_s.map_or_else(|| "-".to_owned(), |age| format!("{} ago", seconds(age))), plain),
            (check.detail.as_deref().map(line).unwrap_or_default(), plain),
        ]
    }));
    page.push_str(&table(&rows));
    page
}

/// What happened to an agent before: its last reason, exit and refused heartbeat.
fn past(agent: &AgentView) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(reason) = &agent.reason {
        facts.push(("reason", format!("{}, {} ago: {}", line(&reason.code), ago(reason.at), line(&reason.text))));
    }
    if let Some(exit) = &agent.last_exit {
        let how = match (exit.code, exit.signal) {
            (Some(code), _) => format!("code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "not seen".to_owned(),
        };
        facts.push(("last exit", format!("pid {}, {how}, {} ago", exit.pid, ago(exit.at))));
        facts.extend(exit.output.iter().map(|text| ("its output", line(text))));
    }
    if let Some(refused) = &agent.last_rejected {
        let (pid, total) = (refused.pid, agent.heartbeats_rejected);
        let when = ago(refused.at);
        facts.push((
            "refused",
            format!("heartbeat of pid {pid}, {when} ago, {total} in all: {}", line(&refused.message)),
        ));
    }
    if let Some(released) = &agent.released {
        facts.push(("left running", format!("by the last stop, because `stop_scope` is `group`: {}", line(released))));
    }
    if let Some(change) = &agent.log_change {
        facts.push(("log", line(change)));
    }
    facts
}

/// Aligns the cells in columns.
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
    // If the wall clock was set back, the age is zero.
    Elapsed(ops_runtime::clock::wall().duration_since(at.0).unwrap_or_default()).to_string()
}

fn seconds(seconds: f64) -> String {
    Elapsed(Duration::try_from_secs_f64(seconds).unwrap_or_default()).to_string()
}
