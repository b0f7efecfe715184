//! Files that others remove or rename while the programs run.

use std::fs;

use rustix::process::Signal;

use super::setup::{configure, configure_ours, daemon_dir, free_port, local, ours, running, stand_in};
use crate::support::agent::{AgentDir, wait_until};
use crate::support::http::get;

#[test]
fn a_removed_socket_is_bound_again() {
    let port = free_port();
    let daemon_dir = daemon_dir(port, &[ours("a", "")]);
    configure_ours(&daemon_dir, "a", 0, "");
    let mut daemon = daemon_dir.start();
    running(&daemon_dir, &["a"]);
    fs::remove_file(daemon_dir.socket()).unwrap();
    daemon.wait_for_message("the socket file was removed: binding it again");
    wait_until("the socket is back", || daemon_dir.ask(&["status"]).status.code() == Some(0));
    assert_eq!(get(local(port), "/health").status, 200);
}

#[test]
fn a_socket_path_that_is_taken_by_another_file_is_a_fault_until_it_is_free() {
    let port = free_port();
    let daemon_dir = daemon_dir(port, &[ours("a", "")]);
    configure_ours(&daemon_dir, "a", 0, "");
    let _daemon = daemon_dir.start();
    running(&daemon_dir, &["a"]);
    fs::remove_file(daemon_dir.socket()).unwrap();
    fs::write(daemon_dir.socket(), "not a socket").unwrap();
    let health = || get(local(port), "/health");
    wait_until("the daemon reports it", || health().body.contains("the socket file was removed"));
    assert_eq!(health().status, 503);
    assert_eq!(fs::read_to_string(daemon_dir.socket()).unwrap(), "not a socket", "the file is not touched");
    fs::remove_file(daemon_dir.socket()).unwrap();
    wait_until("the daemon is healthy", || health().status == 200);
    assert_eq!(daemon_dir.ask(&["status"]).status.code(), Some(0));
}

#[test]
fn a_reload_opens_the_log_again_also_if_the_configuration_is_wrong() {
    let agent_dir = AgentDir::new("log: { file: agent.log }\n");
    let mut agent = agent_dir.spawn();
    let log = agent_dir.path().join("agent.log");
    wait_until("the agent runs", || fs::read_to_string(&log).unwrap_or_default().contains("Running"));
    agent_dir.configure("log: { file: agent.log }\nnonsense: 1\n");
    fs::rename(&log, agent_dir.path().join("agent.log.1")).unwrap();
    agent.signal(Signal::HUP);
    wait_until("the agent's log is back", || log.exists());
    agent.stop();

    let daemon_dir = daemon_dir(0, &[]);
    let config = daemon_dir.path().join("daemon.yaml");
    let text = fs::read_to_string(&config).unwrap().replace("http: {", "log: { file: daemon.log }, http: {");
    fs::write(&config, &text).unwrap();
    let mut daemon = daemon_dir.command(&["run", "--config", "daemon.yaml"]).spawn().unwrap();
    let log = daemon_dir.path().join("daemon.log");
    wait_until("the daemon listens", || daemon_dir.ask(&["status"]).status.code() == Some(0));
    fs::write(&config, text + "nonsense: 1\n").unwrap();
    fs::rename(&log, daemon_dir.path().join("daemon.log.1")).unwrap();
    crate::support::daemon::signal(daemon.id(), Signal::HUP);
    wait_until("the daemon's log is back", || log.exists());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[test]
fn a_log_that_another_program_has_replaced_is_named_until_the_next_start() {
    let site = daemon_dir(0, &[]);
    let entry = stand_in(&site, "a", "exec sleep 1000", ", health_check: { heartbeat_timeout: 0 }");
    configure(&site, 0, &[entry]);
    let _daemon = site.start();
    running(&site, &["a"]);
    let log = site.path().join("state/agents/a/logs/agent.log");
    fs::rename(&log, log.with_extension("old")).unwrap();
    fs::write(&log, "").unwrap();
    let why = || String::from_utf8_lossy(&site.ask(&["why", "a"]).stdout).into_owned();
    wait_until("the replaced log is named", || why().contains("the log was replaced: restart the agent"));
    assert_eq!(site.ask(&["restart", "a"]).status.code(), Some(0));
    wait_until("the new start holds the file in its place", || !why().contains("replaced"));
    assert!(fs::read_to_string(&log).unwrap().starts_with("=== started by the daemon at "));
}
