//! `agent check` and `agent status` with a real agent: their output and their exit codes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use ops_protocol::status_file::StatusFile;
use ops_runtime::observe::read_status;
use rustix::process::Signal;
use statemachine::lifecycle::State;

use crate::support::agent::{Agent, AgentDir, wait_until};

/// The exit code and standard output of an agent command.
fn ask(agent_dir: &AgentDir, args: &[&str]) -> (Option<i32>, String) {
    let output = agent_dir.command(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn check(agent_dir: &AgentDir, args: &[&str]) -> (Option<i32>, String) {
    let (code, text) = ask(agent_dir, &[&["check"], args].concat());
    assert_eq!(text.lines().count(), 1, "{text}");
    (code, text)
}

#[test]
fn a_running_agent_is_ok_by_file_by_configuration_and_by_default() {
    let agent_dir = AgentDir::new("");
    let agent = agent_dir.start();
    for args in [&["--state-file", "state/tested.ron"][..], &["--config", "agent.yaml"], &[]] {
        let (code, line) = check(&agent_dir, args);
        assert!(line.starts_with("OK - tested Running, refreshed "), "{line}");
        let (message, figures) = line.trim_end().split_once(" | ").expect("figures");
        assert!(message.ends_with(&format!(" s ago, pid {} alive", agent.pid())), "{line}");
        assert!(figures.starts_with("age=") && figures.ends_with("s;;30;0"), "{line}");
        assert_eq!(code, Some(0));
    }
}

#[test]
fn killed_stopped_and_frozen_agents_are_critical_with_different_texts() {
    let agent_dir = AgentDir::new("state: { refresh: 100ms }\n");
    let mut agent = agent_dir.start();
    agent.signal(Signal::STOP);
    wait_until("the frozen agent's file goes stale", || check(&agent_dir, &[]).0 == Some(2));
    let (_, line) = check(&agent_dir, &[]);
    assert!(line.starts_with("CRITICAL - tested is stuck: Running, but not refreshed for "), "{line}");
    agent.signal(Signal::CONT);
    wait_until("the agent goes on", || check(&agent_dir, &[]).0 == Some(0));

    agent.signal(Signal::KILL);
    agent.wait();
    let (code, line) = check(&agent_dir, &[]);
    assert!(line.contains(&format!("is dead: pid {} is gone, last seen Running", agent.pid())), "{line}");
    assert_eq!(code, Some(2));

    let mut agent = agent_dir.start();
    assert_eq!(agent.stop(), Some(0));
    let (code, line) = check(&agent_dir, &[]);
    assert!(line.starts_with("CRITICAL - tested Stopped ") && line.contains(" ago, clean: "), "{line}");
    assert_eq!(code, Some(2));
}

#[test]
fn a_degraded_agent_is_a_warning_that_names_the_fault() {
    // Port 1 has no listener.
    let agent_dir = AgentDir::new(
        "heartbeat: { url: \"http://127.0.0.1:1/heartbeat\", interval: 100ms, timeout: 100ms, failure_threshold: 1 }\n",
    );
    let mut agent = agent_dir.spawn();
    agent.wait_for_state("Degraded");
    let (code, line) = check(&agent_dir, &[]);
    assert!(line.starts_with("WARNING - tested Degraded: heartbeat ("), "{line}");
    assert_eq!(code, Some(1));
    let (code, line) = check(&agent_dir, &["--live"]);
    assert!(line.starts_with("OK - tested Degraded: heartbeat ("), "{line}");
    assert_eq!(code, Some(0), "with --live, a degraded agent is alive");
    let (code, page) = ask(&agent_dir, &["status"]);
    assert_eq!(code, Some(1));
    let mut lines = page.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("tested: Degraded for ")), "{page}");
    assert!(lines.next().is_some_and(|line| line.starts_with("  fault      heartbeat for ")), "{page}");
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(check(&agent_dir, &["--live"]).0, Some(2), "a stopped agent is not alive");
}

#[test]
fn ages_for_a_warning_and_for_critical_replace_the_limit_of_the_file() {
    let agent_dir = AgentDir::new("state: { refresh: 100ms }\n");
    let agent = agent_dir.start();
    agent.signal(Signal::STOP);
    wait_until("the frozen agent's file goes stale", || check(&agent_dir, &[]).0 == Some(2));
    let (code, line) = check(&agent_dir, &["-w", "1h", "-c", "7200"]);
    assert_eq!((code, line.trim_end().ends_with("s;3600;7200;0")), (Some(0), true), "{line}");
    let (code, line) = check(&agent_dir, &["-w", "0.1", "-c", "1h"]);
    assert_eq!((code, line.starts_with("WARNING - tested Running")), (Some(1), true), "{line}");
    for critical in ["-c", "--max-age", "--critical"] {
        let (code, line) = check(&agent_dir, &[critical, "100ms"]);
        assert_eq!((code, line.starts_with("CRITICAL - tested is stuck")), (Some(2), true), "{line}");
    }
    agent.signal(Signal::CONT);
}

/// A monitoring system shows the first line of standard output alone.
#[test]
fn a_wrong_command_line_of_check_is_unknown_on_one_line_of_standard_output() {
    let agent_dir = AgentDir::new("");
    for args in [&["-c", "soon"][..], &["--nothing"], &["-w", "2m", "-c", "1m"], &["-c"]] {
        let (code, line) = check(&agent_dir, args);
        assert_eq!((code, line.starts_with("UNKNOWN - ")), (Some(3), true), "{line}");
    }
    assert_eq!(ask(&agent_dir, &["status", "--nothing"]).0, Some(64));
    assert_eq!(ask(&agent_dir, &["check", "--help"]).0, Some(0));
}

#[test]
fn a_missing_or_damaged_file_is_unknown() {
    let agent_dir = AgentDir::new("");
    let (code, line) = check(&agent_dir, &["--config", "agent.yaml"]);
    assert!(line.starts_with("UNKNOWN - no status file") && line.contains("state/tested.ron"), "{line}");
    assert_eq!(code, Some(3));
    fs::create_dir(agent_dir.path().join("state")).unwrap();
    fs::write(agent_dir.status_file(), [0; 1000]).unwrap();
    let (code, line) = check(&agent_dir, &[]);
    assert!(line.contains("NUL bytes"), "{line}");
    assert_eq!(code, Some(3));
    fs::write(agent_dir.path().join("state/other.ron"), "").unwrap();
    let (code, line) = check(&agent_dir, &[]);
    assert!(line.contains("state/other.ron, state/tested.ron"), "{line}");
    assert_eq!(code, Some(3));
    agent_dir.configure("no_such_key: 1\n");
    let (code, line) = check(&agent_dir, &["--config", "agent.yaml"]);
    assert!(line.contains("agent validate --config agent.yaml"), "{line}");
    assert_eq!(code, Some(3));
    assert_eq!(ask(&agent_dir, &["status", "--state-file", "none.ron", "--output", "json"]), (Some(3), String::new()));
}

#[test]
fn the_other_outputs_are_the_whole_file_in_either_format() {
    let agent_dir = AgentDir::new("");
    let _agent = agent_dir.start();
    for output in ["ron", "json"] {
        let (code, text) = ask(&agent_dir, &["status", "--output", output]);
        let file = StatusFile::decode(text.as_bytes()).unwrap();
        assert_eq!((code, file.agent_id.as_str(), file.state), (Some(0), "tested", State::Running));
    }
}

#[test]
fn colour_is_for_terminals_only() {
    let agent_dir = AgentDir::new("");
    let _agent = agent_dir.start();
    assert!(!ask(&agent_dir, &["status"]).1.contains('\u{1b}'));
    let forced = agent_dir.command(&["status"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(forced.stdout.contains(&0x1b));
    let refused = agent_dir.command(&["status"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap();
    assert!(!refused.stdout.contains(&0x1b));
}

#[test]
fn watch_prints_each_change_until_sigterm() {
    let agent_dir = AgentDir::new("state: { refresh: 1h }\n");
    let mut agent = agent_dir.start();
    let mut watch = agent_dir.command(&["status", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.next().is_some_and(|line| line.starts_with("tested: Running ")));
    assert_eq!(agent.stop(), Some(0));
    assert!(lines.any(|line| line.starts_with("CRITICAL - tested Stopped ")));
    // Not SIGINT: a shell script that runs the tests in the background makes them ignore it.
    rustix::process::kill_process(rustix::process::Pid::from_child(&watch), Signal::TERM).unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_second_agent_exits_with_the_pid_of_the_first_and_leaves_its_file_alone() {
    let agent_dir = AgentDir::new("");
    let first = agent_dir.start();
    let second = agent_dir.command(&["run", "--config", "agent.yaml"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(stderr.contains(&format!("pid {}", first.pid())), "{stderr}");
    assert_eq!(read_status(&agent_dir.status_file()).unwrap().pid, first.pid());
}

#[test]
fn the_next_run_reports_that_the_last_one_was_killed() {
    let agent_dir = AgentDir::new("");
    let mut first: Agent = agent_dir.start();
    first.signal(Signal::KILL);
    first.wait();
    let before = read_status(&agent_dir.status_file()).unwrap();
    let _second = agent_dir.start();
    let after = read_status(&agent_dir.status_file()).unwrap();
    assert_eq!(after.previous, Some(before.as_previous()));
    assert_eq!(after.incarnation, before.incarnation + 1);
    assert!(after.sequence > before.sequence);
}
