//! `daemon status`.

use std::process::Command;

use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::daemon_api::DaemonApi;
use crate::support::programs;
use crate::support::terminal::{Terminal, plain};

use super::{stderr, stdout};

fn status(api: &DaemonApi, args: &[&str]) -> Command {
    let mut command = Command::new(programs::daemon());
    command.arg("status").arg("--socket").arg(&api.socket).args(args);
    command
}

/// The first words of the rows, which are the IDs.
fn ids(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.starts_with("agent-")).collect()
}

#[test]
fn the_worst_agent_comes_first_unless_another_column_is_asked_for() {
    let api = DaemonApi::start(4);
    api.with_control(|control| control.end(2));
    let all = status(&api, &[]).output().unwrap();
    assert_eq!(all.status.code(), Some(1));
    assert_eq!(ids(&stdout(&all)), ["agent-2", "agent-0", "agent-1", "agent-3"]);
    let by_id = status(&api, &["--sort", "id"]).output().unwrap();
    assert_eq!(ids(&stdout(&by_id)), ["agent-0", "agent-1", "agent-2", "agent-3"]);
    let by_age = status(&api, &["--sort", "age"]).output().unwrap();
    assert_eq!(ids(&stdout(&by_age))[0], "agent-2", "its state changed last");
    let json = stdout(&status(&api, &["--output", "json"]).output().unwrap());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["agents"][0]["agent_id"], "agent-0", "programs get the order of the API");
    let json = stdout(&status(&api, &["--output", "json", "--sort", "state"]).output().unwrap());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["agents"][0]["agent_id"], "agent-2");
}

#[test]
fn only_the_named_agents_are_shown_and_judged() {
    let api = DaemonApi::start(4);
    api.with_control(|control| {
        control.end(2);
        control.tell(1, statemachine::supervision::Input::FoundHealthy);
        control.tell(3, statemachine::supervision::Input::FoundHealthy);
    });
    let two = status(&api, &["agent-3", "agent-1"]).output().unwrap();
    assert_eq!(ids(&stdout(&two)), ["agent-1", "agent-3"]);
    assert_eq!(two.status.code(), Some(0), "{two:?}");
    let unknown = status(&api, &["agent-1", "nowhere"]).output().unwrap();
    assert_eq!((ids(&stdout(&unknown)), unknown.status.code()), (vec!["agent-1"], Some(1)));
    assert!(stderr(&unknown).contains("there is no agent \"nowhere\""), "{unknown:?}");
}

#[test]
fn a_table_fits_every_terminal() {
    let api = DaemonApi::start(3);
    api.with_control(|control| control.end(1));
    let mut columns_at_the_widest = 0;
    for columns in [30, 50, 80, 100, 200] {
        let mut terminal = Terminal::run(status(&api, &[]), columns, 24);
        assert_eq!(terminal.wait().code(), Some(1));
        crate::support::agent::wait_until("all is printed", || terminal.printed().contains("agent-2"));
        let text = plain(&terminal.printed());
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= usize::from(columns), "{widest} > {columns}:\n{text}");
        assert_eq!(ids(&text).len(), 3, "no row is broken:\n{text}");
        let titles = text.lines().find(|line| line.contains("AGENT")).unwrap();
        columns_at_the_widest = titles.split_whitespace().count();
    }
    assert!(columns_at_the_widest >= 9, "nothing is left out where there is room");
}

#[test]
fn the_configured_name_is_shown_beside_the_id() {
    let entries = [AgentEntry::new("one").with("name: \"Agent 状态\""), AgentEntry::new("two")];
    let daemon_dir = DaemonDir::new(&entries);
    let _daemon = daemon_dir.start();
    daemon_dir.wait_for_state("one", "running");
    let text = stdout(&daemon_dir.ask(&["status"]));
    let row = text.lines().find(|line| line.trim_start().starts_with("one")).unwrap();
    assert!(row.contains("Agent 状态"), "{text}");
    let why = stdout(&daemon_dir.ask(&["why", "one"]));
    assert!(why.starts_with("one (Agent 状态): running"), "{why}");
}
