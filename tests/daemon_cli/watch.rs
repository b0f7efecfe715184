//! `daemon status --watch` on a terminal.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use rustix::process::Signal;

use crate::support::agent::AgentDir;
use crate::support::daemon_api::DaemonApi;
use crate::support::programs;
use crate::support::terminal::Terminal;

fn watch(api: &DaemonApi, columns: u16, rows: u16) -> Terminal {
    let mut command = Command::new(programs::daemon());
    command.args(["status", "--watch", "--socket"]).arg(&api.socket);
    Terminal::run(command, columns, rows)
}

/// Whether the page fits the terminal.
fn fits(page: &[String], columns: usize, rows: usize) -> bool {
    page.len() <= rows && page.iter().all(|line| line.chars().count() <= columns)
}

#[test]
fn the_summary_and_the_worst_rows_stay_on_the_screen() {
    let api = DaemonApi::start(40);
    api.with_control(|control| control.end(37));
    let mut terminal = watch(&api, 70, 10);
    let page = terminal.wait_for("a page", |page| page.iter().any(|line| line.contains("more: ")));
    assert!(fits(&page, 70, 10), "{page:#?}");
    assert!(page[0].contains("UTC") && page[0].contains("q quits"), "{page:#?}");
    assert!(page[1].contains("39 starting") || page[1].contains("running"), "the summary: {page:#?}");
    assert!(page[3].trim_start().starts_with("agent-37 "), "the worst: {page:#?}");
    let shown = page.iter().filter(|line| line.trim_start().starts_with("agent-")).count();
    assert!(page.last().unwrap().contains(&format!("{} more: ", 40 - shown)), "{page:#?}");

    terminal.resize(60, 50);
    let page = terminal.wait_for("a larger page", |page| page.iter().any(|line| line.contains("agent-9 ")));
    assert!(fits(&page, 60, 50) && !page.iter().any(|line| line.contains("more: ")), "{page:#?}");

    drop(api);
    let page = terminal.wait_for("a message", |page| page.iter().any(|line| line.contains("the daemon is gone")));
    assert!(page.iter().any(|line| line.contains("agent-37 ")), "the last answer stays: {page:#?}");

    assert!(!terminal.is_in_its_usual_mode());
    terminal.press("xq");
    assert_eq!(terminal.wait().code(), Some(0));
    assert!(terminal.is_in_its_usual_mode());
    assert!(terminal.printed().ends_with("\x1b[?25h\x1b[?1049l"), "{:?}", terminal.printed());
}

#[test]
fn a_signal_ends_it_and_the_terminal_keeps_its_mode() {
    let api = DaemonApi::start(1);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut terminal = watch(&api, 80, 24);
        terminal.wait_for("a page", |page| page.iter().any(|line| line.contains("agent-0")));
        terminal.signal(signal);
        assert_eq!(terminal.wait().signal(), Some(signal.as_raw()));
        assert!(terminal.is_in_its_usual_mode(), "{signal:?}");
    }
}

#[test]
fn the_status_of_an_agent_is_watched_likewise() {
    let agent_dir = AgentDir::new("");
    let mut agent = agent_dir.start();
    let mut terminal = Terminal::run(agent_dir.command(&["status", "--watch"]), 40, 5);
    let page = terminal.wait_for("a page", |page| page.first().is_some_and(|line| line.contains("Running")));
    assert!(fits(&page, 40, 5), "{page:#?}");
    assert_eq!(agent.stop(), Some(0));
    terminal.wait_for("its end", |page| page.first().is_some_and(|line| line.contains("Stopped")));
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(2));
    assert!(terminal.is_in_its_usual_mode());
}

#[test]
fn a_daemon_that_comes_back_is_shown_again() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("daemon.sock");
    let mut command = Command::new(programs::daemon());
    command.args(["status", "--watch", "--socket"]).arg(&socket);
    let mut terminal = Terminal::run(command, 200, 24);
    terminal.wait_for("the reason", |page| page.iter().any(|line| line.contains("no daemon listens at /")));
    let api = DaemonApi::start(1);
    std::os::unix::fs::symlink(&api.socket, &socket).unwrap();
    terminal.wait_for("an agent", |page| page.iter().any(|line| line.contains("agent-0")));
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
}
