//! The daemon and its agents as real processes, from the first start to the last stop.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use test_requirements::requires;

use crate::support::agent::wait_until;
use crate::support::daemon::{AgentEntry, DaemonDir, signal};
use crate::support::http::get;

fn three() -> DaemonDir {
    DaemonDir::new(&["one", "two", "three"].map(AgentEntry::new))
}

fn running(daemon_dir: &DaemonDir, ids: &[&str]) -> Vec<Option<u32>> {
    ids.iter().map(|id| daemon_dir.wait_for_state(id, "running")).collect()
}

#[test]
fn three_agents_start_send_heartbeats_and_status_reports_ok() {
    let daemon_dir = three();
    assert_eq!(daemon_dir.ask(&["status"]).status.code(), Some(3), "no daemon is running");
    let _daemon = daemon_dir.start();
    for id in ["one", "two", "three"] {
        daemon_dir.wait_for_state(id, "running");
        daemon_dir.wait_for(id, "sends heartbeats", |agent| agent["heartbeats"].as_u64() > Some(1));
    }
    let status = daemon_dir.ask(&["status"]);
    assert_eq!(status.status.code(), Some(0));
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.starts_with("3 running"), "{text}");
}

#[test]
fn each_turn_of_the_loop_is_in_the_metrics() {
    let daemon_dir = three();
    let mut daemon = daemon_dir.start();
    let http = ([127, 0, 0, 1], daemon.port()).into();
    let turns = || {
        let metrics = get(http, "/metrics").body;
        let (_, after) = metrics.split_once("\nops_daemon_loop_turn_cpu_seconds_count ").expect("the metric");
        after.lines().next().unwrap().parse::<u64>().unwrap()
    };
    let before = turns();
    // A turn can answer more than one request.
    wait_until("the next turn is counted", || turns() > before);
}

#[test]
fn agent_and_daemon_log_a_heartbeat_with_the_same_fields() {
    let daemon_dir = DaemonDir::new(&[AgentEntry::new("one")]);
    daemon_dir.configure_agent("one", "log: { level: debug, file: one.log }\n");
    let mut daemon = daemon_dir.start_with(&["--set", "daemon.log.level=debug"]);
    let accepted = daemon.wait_for_message("heartbeat accepted");
    assert_eq!(
        (&accepted["agent_id"], accepted["pid"].as_u64()),
        (&"one".into(), daemon_dir.pid("one").map(u64::from))
    );
    let log = fs::read_to_string(daemon_dir.path().join("state/agents/one/one.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names = ["made_at", "incarnation", "sequence"];
    let sent = lines.iter().filter(|line| line["message"] == "heartbeat sent");
    assert_eq!(
        sent.filter(|line| names.iter().all(|name| line[name] == accepted[name])).count(),
        1,
        "{accepted}\n{log}"
    );
}

#[test]
fn a_killed_agent_is_restarted_and_the_others_are_not() {
    let daemon_dir = three();
    let _daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["one", "two", "three"]);
    signal(before[0].unwrap(), Signal::KILL);
    let one = daemon_dir.wait_for("one", "runs again", |agent| agent["restarts"] == 1 && agent["state"] == "running");
    assert_ne!(one["pid"].as_u64(), before[0].map(u64::from));
    assert_eq!([daemon_dir.pid("two"), daemon_dir.pid("three")], [before[1], before[2]]);
}

#[test]
fn a_requested_stop_survives_the_daemon_until_a_start() {
    let daemon_dir = three();
    let mut daemon = daemon_dir.start();
    running(&daemon_dir, &["one", "two", "three"]);
    let stopped = daemon_dir.ask(&["stop", "one"]);
    assert_eq!(String::from_utf8(stopped.stdout).unwrap(), "one is stopped\n");
    assert_eq!(daemon_dir.ask(&["status"]).status.code(), Some(0), "what is to be stopped is well");
    daemon.signal(Signal::KILL);
    daemon.wait();
    let _daemon = daemon_dir.start();
    running(&daemon_dir, &["two", "three"]);
    assert_eq!((daemon_dir.agent("one")["state"].as_str(), daemon_dir.pid("one")), (Some("stopped"), None));
    let started = daemon_dir.ask(&["start", "one"]);
    assert!(String::from_utf8(started.stdout).unwrap().starts_with("one is running, pid "));
}

#[test]
fn a_reload_touches_only_what_changed_and_a_bad_file_nothing() {
    let daemon_dir = three();
    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["one", "two", "three"]);
    let http = ([127, 0, 0, 1], daemon.port()).into();
    std::fs::write(daemon_dir.path().join("daemon.yaml"), "agents: [{ id: one, binary_path: relative }]\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_message("configuration not reloaded: nothing was changed");
    let status = || String::from_utf8(daemon_dir.ask(&["status"]).stdout).unwrap();
    assert!(status().contains("reload refused") && status().contains("a relative path"), "{}", status());
    let health = |path: &str| get(http, path).body;
    let read_at = || {
        let metrics = health("/metrics");
        let name = "\nops_daemon_config_last_reload_success_timestamp_seconds ";
        let (_, after) = metrics.split_once(name).expect("the metric");
        after.lines().next().unwrap().parse::<f64>().unwrap()
    };
    let at_the_start = read_at();
    assert!(health("/health").contains("\"reload_refused\":{\"at\":"), "{}", health("/health"));
    assert!(health("/metrics").contains("ops_daemon_config_last_reload_successful 0"), "{}", health("/metrics"));
    assert!(read_at() == at_the_start, "the time of the configuration in force");
    daemon_dir.configure(&[
        AgentEntry::new("one").judged_by("heartbeat_timeout: 20m").with("restart: { max_retries: 3 }"),
        AgentEntry::new("two").with("work_dir: state/elsewhere"),
        AgentEntry::new("four"),
    ]);
    assert_eq!(running(&daemon_dir, &["one", "two", "three"]), before, "the bad file changed nothing");
    daemon.signal(Signal::HUP);
    daemon.wait_for_message("configuration reloaded");
    assert!(!status().contains("reload refused"), "{}", status());
    assert!(!health("/health").contains("reload_refused"), "{}", health("/health"));
    assert!(health("/metrics").contains("ops_daemon_config_last_reload_successful 1"), "{}", health("/metrics"));
    assert!(read_at() > at_the_start);
    daemon_dir.wait_for("three", "is forgotten", Value::is_null);
    daemon_dir.wait_for("two", "is another process", |agent| {
        agent["state"] == "running" && agent["pid"].as_u64() != before[1].map(u64::from)
    });
    daemon_dir.wait_for_state("four", "running");
    assert_eq!(daemon_dir.pid("one"), before[0], "checks and policy need no new process");
}

#[test]
fn the_next_daemon_adopts_every_agent_of_a_killed_one() {
    let daemon_dir = three();
    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["one", "two", "three"]);
    daemon.signal(Signal::KILL);
    daemon.wait();
    // One agent dies while no daemon runs.
    signal(before[2].unwrap(), Signal::KILL);
    wait_until("two are left", || daemon_dir.survivors().len() == 2);
    let _daemon = daemon_dir.start();
    let after = running(&daemon_dir, &["one", "two", "three"]);
    assert_eq!(after[..2], before[..2]);
    assert_ne!(after[2], before[2]);
    assert_eq!(daemon_dir.survivors().len(), 3, "none is there twice");
    assert_eq!(daemon_dir.agent("one")["restarts"], 0);
}

#[test]
fn sigterm_leaves_the_agents_running_and_shutdown_stops_them() {
    let daemon_dir = three();
    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["one", "two", "three"]);
    assert_eq!(daemon.stop(), Some(0));
    let mut daemon = daemon_dir.start();
    assert_eq!(running(&daemon_dir, &["one", "two", "three"]), before);
    let shutdown = daemon_dir.ask(&["shutdown"]);
    assert_eq!(shutdown.status.code(), Some(0), "{shutdown:?}");
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(daemon_dir.survivors(), [0; 0]);
    let _daemon = daemon_dir.start();
    running(&daemon_dir, &["one", "two", "three"]);
}

#[test]
fn a_frozen_agent_is_reported_as_stuck_and_restarted() {
    let checks =
        |id: &str| format!("heartbeat_timeout: 0, state_file: {}, state_max_age: 5s", DaemonDir::status_file(id));
    let reported = AgentEntry::new("reported").judged_by(&checks("reported")).with("restart: { policy: never }");
    let restarted = AgentEntry::new("restarted").judged_by(&checks("restarted"));
    let daemon_dir = DaemonDir::new(&[reported, restarted]);
    for id in ["reported", "restarted"] {
        daemon_dir.configure_agent(id, "state: { refresh: 2s }");
    }
    let _daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["reported", "restarted"]);
    for pid in &before {
        signal(pid.unwrap(), Signal::STOP);
    }
    let again = |agent: &Value| agent["state"] == "running" && agent["pid"].as_u64() != before[1].map(u64::from);
    let agent = daemon_dir.wait_for("restarted", "is another process", again);
    let causes = agent["history"].to_string();
    assert!(causes.contains("status file frozen for"), "{causes}");
    daemon_dir.wait_for_state("reported", "unhealthy");
    let why = daemon_dir.ask(&["why", "reported"]);
    assert_eq!(why.status.code(), Some(1));
    let why = String::from_utf8(why.stdout).unwrap();
    assert!(why.contains("status file frozen for") && why.contains(": the writer of the file hangs"), "{why}");
}

#[requires("strace")]
#[test]
fn a_blocked_loop_is_detected_by_the_status_file_though_process_and_port_exist() {
    let checks = format!("heartbeat_timeout: 0, state_file: {}, state_max_age: 5s", DaemonDir::status_file("blocked"));
    let daemon_dir =
        DaemonDir::new(&[AgentEntry::new("blocked").judged_by(&checks).with("restart: { policy: never }")]);
    daemon_dir.configure_agent("blocked", "state: { refresh: 2s }");
    let _daemon = daemon_dir.start();
    let [pid] = running(&daemon_dir, &["blocked"])[..] else { panic!("one agent") };
    let pid = pid.unwrap();
    let file = fs::read_to_string(daemon_dir.path().join(DaemonDir::status_file("blocked"))).unwrap();
    let line = file.lines().find(|line| line.contains("127.0.0.1:")).unwrap();
    let address = line.split('"').nth(1).unwrap().to_owned();

    // strace holds the thread of the loop, and no other, at its next system call.
    let mut holder = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", "inject=all:delay_enter=600s", "-p", &pid.to_string()])
        .spawn()
        .unwrap();
    daemon_dir.wait_for_state("blocked", "unhealthy");
    let why = String::from_utf8(daemon_dir.ask(&["why", "blocked"]).stdout).unwrap();
    assert!(why.contains("status file frozen for") && why.contains(": the writer of the file hangs"), "{why}");
    assert_eq!(daemon_dir.pid("blocked"), Some(pid), "the process is there");
    assert!(TcpStream::connect(&address).is_ok(), "its port is open");

    // Once released, the agent is healthy again without a restart.
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(daemon_dir.wait_for_state("blocked", "running"), Some(pid));
}

#[test]
fn a_program_with_a_bad_configuration_fails_with_its_last_output() {
    let daemon_dir = DaemonDir::new(&[AgentEntry::new("bad")]);
    daemon_dir.configure_agent("bad", "log: { level: loud }");
    let mut daemon = daemon_dir.start();
    let words = daemon.wait_for_message("last output");
    assert!(words["output"].as_str().is_some_and(|words| words.contains("loud")), "{words}");
    assert_eq!(daemon_dir.wait_for_state("bad", "failed"), None);
    let start = daemon_dir.ask(&["start", "bad"]);
    assert_eq!(start.status.code(), Some(1));
}
