//! `daemon why`: one agent and its checks.

use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use ops_protocol::Elapsed;
use ops_protocol::printable::on_one_line as line;
use ops_protocol::views::{AgentView, CheckVerdict, CheckView};
use serde_json::json;

use super::WhyArgs;
use super::order::verdict;
use super::page::{ago, has_name, state_style};
use super::request::request;
use crate::cli::exit_code::FAILED;
use crate::cli::output::print;
use crate::cli::screen;
use crate::cli::table::{Cell, Column, Table};
use crate::cli::text::Line;

const FACTS: [Column; 2] =
    [Column { title: "", min: usize::MAX, drop: 0 }, Column { title: "", min: usize::MAX, drop: 0 }];

const CHECKS: [Column; 5] = [
    Column { title: "CHECK", min: usize::MAX, drop: 0 },
    Column { title: "VERDICT", min: usize::MAX, drop: 0 },
    Column { title: "FOR", min: usize::MAX, drop: 2 },
    Column { title: "CHECKED", min: usize::MAX, drop: 3 },
    Column { title: "DETAIL", min: 24, drop: 0 },
];

/// Prints the checks of one agent and explains its state. 0: it is running, or stopped on purpose.
pub(super) fn run(args: &WhyArgs) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match request::<AgentView>(&socket, "agent", json!({ "agent_id": args.id })) {
        Ok(agent) => {
            let columns = screen::size().map(|size| size.columns);
            let printed = print(&(page(&agent, columns).join("\n") + "\n"));
            if agent.is_well() { printed } else { ExitCode::from(FAILED) }
        }
        Err(error) => error.report(),
    }
}

/// The page of one agent. The worst check comes first.
fn page(agent: &AgentView, columns: Option<usize>) -> Vec<String> {
    let (style, plain) = (state_style(agent).bold(), Style::new());
    let name = if has_name(agent) { format!(" ({})", line(&agent.name)) } else { String::new() };
    let title = Line::plain(format!("{}{name}: ", line(&agent.agent_id)))
        .then(agent.state.as_str(), style)
        .then(format!(" for {}", ago(agent.since)), plain);
    let mut lines = title.wrapped(columns, 2);
    lines.extend(Line::plain(format!("  {}", line(&agent.why))).wrapped(columns, 4));
    lines.push(String::new());
    let facts = past(agent);
    if !facts.is_empty() {
        let cells = |(title, fact): (&str, String)| vec![(title.to_owned(), plain.dimmed()), (fact, plain)];
        lines.extend(Table::new(&FACTS, facts.into_iter().map(cells).collect()).lines(columns, true));
        lines.push(String::new());
    }
    let mut checks: Vec<&CheckView> = agent.signals.iter().collect();
    checks.sort_by_key(|check| verdict(check));
    lines.extend(Table::new(&CHECKS, checks.into_iter().map(row).collect()).lines(columns, true));
    lines
}

fn row(check: &CheckView) -> Vec<Cell> {
    let plain = Style::new();
    let verdict = match check.verdict {
        CheckVerdict::Ok => AnsiColor::Green.on_default(),
        CheckVerdict::Bad => AnsiColor::Red.on_default().bold(),
        CheckVerdict::Off => plain.dimmed(),
        CheckVerdict::Noted | CheckVerdict::Unknown => AnsiColor::Yellow.on_default(),
    };
    vec![
        (check.check.as_str().to_owned(), plain),
        (check.verdict.as_str().to_owned(), verdict),
        (check.for_s.map_or_else(|| "-".to_owned(), seconds), plain),
        (check.looked_s.map_or_else(|| "-".to_owned(), |age| format!("{} ago", seconds(age))), plain),
        (check.detail.as_deref().map(line).unwrap_or_default(), plain),
    ]
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
    if let Some(hold) = &agent.hold {
        facts.push(("held", format!("no restarts for bad checks, since {} ago: {}", ago(hold.at), line(&hold.text))));
    }
    if let Some(said) = &agent.said {
        facts.push(("it says", line(said)));
    }
    if !agent.depends_on.is_empty() {
        facts.push(("depends on", line(&agent.depends_on.join(", "))));
    }
    if let Some(released) = &agent.released {
        facts.push(("left running", format!("by the last stop, because `stop_scope` is `group`: {}", line(released))));
    }
    if let Some(change) = &agent.log_change {
        facts.push(("log", line(change)));
    }
    facts
}

fn seconds(seconds: f64) -> String {
    Elapsed(Duration::try_from_secs_f64(seconds).unwrap_or_default()).to_string()
}
