//! Healthy agents under reloads, stops and restarts of the daemon.

use std::time::Instant;

use rustix::process::Signal;

use super::report::Scenario;
use super::setup::{
    configure, configure_ours, configure_ours_for, daemon_dir, free_port, health, local, ours, running, running_anew,
};
use crate::support::agent::wait_until;
use crate::support::daemon::DaemonDir;
use crate::support::http::{get, request};

const IDS: [&str; 3] = ["one", "two", "three"];

/// Three agents, each with its own API port.
fn three() -> (DaemonDir, [u16; 3]) {
    let ports = IDS.map(|_| free_port());
    let daemon_dir = daemon_dir(0, &IDS.map(|id| ours(id, "")));
    for (id, port) in IDS.iter().zip(ports) {
        configure_ours(&daemon_dir, id, port, "");
    }
    (daemon_dir, ports)
}

#[test]
fn three_agents_report_over_three_transports_and_each_interface_shows_them() {
    let mut scenario = Scenario::begin(
        "three agents under one daemon",
        "heartbeats over HTTP, JSON-RPC and JSON lines; health and metrics of each; all three well in status, /metrics, /sd",
    );
    let (daemon_port, ports) = (free_port(), IDS.map(|_| free_port()));
    let checked = |(id, port): (&&str, u16)| {
        let (file, url) = (DaemonDir::status_file(id), format!("http://127.0.0.1:{port}/livez"));
        ours(id, &format!(", health_check: {{ http_endpoint: \"{url}\", state_file: {file}, state_max_age: 10m }}"))
    };
    let daemon_dir = daemon_dir(daemon_port, &IDS.iter().zip(ports).map(checked).collect::<Vec<_>>());
    let socket = daemon_dir.socket();
    let transports = [
        format!("url: \"http://127.0.0.1:{daemon_port}/heartbeat\""),
        format!("url: \"unix://{}\"", socket.display()),
        format!("socket_path: \"{}\"", socket.display()),
    ];
    for ((id, port), transport) in IDS.iter().zip(ports).zip(&transports) {
        configure_ours_for(&daemon_dir, id, port, &format!("{transport}, interval: 200ms"), "");
    }
    let _daemon = daemon_dir.start();
    running(&daemon_dir, &IDS);
    for (id, port) in IDS.iter().zip(ports) {
        let agent = daemon_dir.wait_for(id, "sends heartbeats", |agent| agent["heartbeats"].as_u64() > Some(2));
        assert_eq!(health(port, "running")["status"], "healthy");
        let metrics = get(local(port), "/metrics").json();
        assert!(metrics["heartbeat_count"].as_u64() > Some(2), "{metrics}");
        assert!(metrics["memory_bytes"].as_u64() > Some(0), "{metrics}");
        scenario.saw(format!("{id}: healthy, {} heartbeats", agent["heartbeats"]));
    }
    let exposition = get(local(daemon_port), "/metrics").body;
    let targets = get(local(daemon_port), "/sd").json();
    for (id, port) in IDS.iter().zip(ports) {
        assert!(exposition.contains(&format!("ops_daemon_agent_up{{agent_id=\"{id}\"}} 1")), "{exposition}");
        assert!(targets.to_string().contains(&format!("127.0.0.1:{port}")), "{targets}");
    }
    let status = daemon_dir.ask(&["status"]);
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(status.status.code() == Some(0) && text.starts_with("3 running"), "{text}");
    scenario.saw("status: 3 running");
}

#[test]
fn while_the_daemon_is_away_its_agents_are_degraded_and_once_it_is_back_they_run() {
    let mut scenario = Scenario::begin(
        "daemon away and back",
        "agents Degraded with the fault `heartbeat` meanwhile, Running afterwards, the same processes",
    );
    let (daemon_dir, ports) = three();
    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &IDS);
    ports.iter().for_each(|&port| drop(health(port, "running")));
    assert_eq!(daemon.stop(), Some(0));
    for port in ports {
        assert_eq!(health(port, "degraded")["faults"][0]["name"], "heartbeat");
    }
    scenario.saw("3 degraded: heartbeat");
    let _daemon = daemon_dir.start();
    let back = Instant::now();
    ports.iter().for_each(|&port| drop(health(port, "running")));
    assert_eq!(running(&daemon_dir, &IDS), before);
    scenario.saw(format!("3 running {:.1} s after its return, same pids", back.elapsed().as_secs_f64()));
}

#[test]
fn a_reload_of_an_agent_or_of_the_daemon_touches_only_what_changed() {
    let mut scenario = Scenario::begin(
        "configuration reloaded",
        "an agent takes over its file as the same process and refuses a bad one; the daemon restarts, adds and removes \
         only what changed",
    );
    let (daemon_dir, ports) = three();
    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &IDS);
    let reload = || request(local(ports[0]), "POST", "/reload", "content-length: 0\r\n");
    health(ports[0], "running");
    configure_ours(&daemon_dir, "one", ports[0], "log: { level: loud }\n");
    assert_eq!((reload().status, daemon_dir.pid("one")), (400, Some(before[0])));
    configure_ours(&daemon_dir, "one", ports[0], "log: { level: debug }\n");
    assert_eq!((reload().status, daemon_dir.pid("one")), (200, Some(before[0])));
    scenario.saw("agent: 400 for the bad file, 200 for the good one, same pid");

    configure_ours(&daemon_dir, "four", 0, "");
    configure(
        &daemon_dir,
        0,
        &[
            ours("one", ", health_check: { interval: 7s }, restart: { max_retries: 3 }"),
            ours("two", ", work_dir: state/elsewhere"),
            ours("four", ""),
        ],
    );
    daemon.signal(Signal::HUP);
    daemon.wait_for_message("configuration reloaded");
    running_anew(&daemon_dir, "two", before[1]);
    daemon_dir.wait_for("three", "is gone", serde_json::Value::is_null);
    running(&daemon_dir, &["four"]);
    assert_eq!(daemon_dir.pid("one"), Some(before[0]));
    scenario.saw("daemon: two restarted, three gone, four there, one untouched");
}

#[test]
fn a_stopped_agent_stays_stopped_and_a_shutdown_stops_all() {
    let mut scenario = Scenario::begin(
        "a requested stop, and the stop of all agents",
        "a stopped agent stays so over a reload and a restart of the daemon; `shutdown` leaves no process",
    );
    let (daemon_dir, _) = three();
    let mut daemon = daemon_dir.start();
    running(&daemon_dir, &IDS);
    assert_eq!(daemon_dir.ask(&["stop", "one"]).status.code(), Some(0));
    daemon.signal(Signal::HUP);
    daemon.wait_for_message("configuration reloaded");
    assert_eq!(daemon_dir.agent("one")["state"], "stopped");
    let since = Instant::now();
    assert_eq!(daemon_dir.ask(&["shutdown"]).status.code(), Some(0));
    assert_eq!(daemon.wait().code(), Some(0));
    scenario.saw(format!("all stopped in {:.1} s", since.elapsed().as_secs_f64()));
    assert_eq!(daemon_dir.survivors(), [0; 0]);
    assert_eq!(daemon_dir.ask(&["status"]).status.code(), Some(3));

    let _daemon = daemon_dir.start();
    running(&daemon_dir, &["two", "three"]);
    assert_eq!((daemon_dir.agent("one")["state"].as_str(), daemon_dir.pid("one")), (Some("stopped"), None));
    scenario.saw("one still stopped under the next daemon");
    assert_eq!(daemon_dir.ask(&["start", "one"]).status.code(), Some(0));
    wait_until("three processes are there", || daemon_dir.survivors().len() == 3);
}
