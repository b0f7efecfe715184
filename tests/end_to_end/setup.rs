//! The setup of the scenarios: a [`DaemonDir`] with agents of every kind.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::agent::wait_until;
use crate::support::daemon::{DaemonDir, signal};
pub(super) use crate::support::http::free_port;
use crate::support::http::get;
use crate::support::programs;

/// A directory whose daemon listens on `port` and has these agents, each given as the settings of its entry.
pub(super) fn daemon_dir(port: u16, entries: &[String]) -> DaemonDir {
    let daemon_dir = DaemonDir::new(&[]);
    configure(&daemon_dir, port, entries);
    daemon_dir
}

/// Writes the daemon's configuration. No limit in it depends on the speed of the machine, unless an entry sets one.
pub(super) fn configure(daemon_dir: &DaemonDir, port: u16, entries: &[String]) {
    let agents: String = entries.iter().map(|entry| format!("  - {{ {entry} }}\n")).collect();
    let agents = if entries.is_empty() { "  []\n".to_owned() } else { agents };
    let checks = "interval: 200ms, heartbeat_timeout: 10m, cpu_threshold: 0, memory_threshold: 0, start_grace: 0s";
    let yaml = format!(
        "daemon: {{ work_dir: state, http: {{ port: {port} }} }}\n\
         agent_defaults: {{ health_check: {{ {checks} }} }}\nagents:\n{agents}"
    );
    fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
}

/// The entry of this project's agent, and `more` settings of it.
pub(super) fn ours(id: &str, more: &str) -> String {
    let binary = programs::agent();
    format!("id: {id}, binary_path: \"{binary}\", config_file: {id}.yaml{more}")
}

/// Writes the configuration of this project's agent: heartbeats over the daemon's socket, an API on `port`, and `extra`.
pub(super) fn configure_ours(daemon_dir: &DaemonDir, id: &str, port: u16, extra: &str) {
    let url = format!("unix://{}", daemon_dir.socket().display());
    configure_ours_for(daemon_dir, id, port, &format!("url: \"{url}\", interval: 200ms"), extra);
}

/// The same with heartbeats as `heartbeat` has them.
pub(super) fn configure_ours_for(daemon_dir: &DaemonDir, id: &str, port: u16, heartbeat: &str, extra: &str) {
    let yaml = format!("agent_id: {id}\nhttp: {{ port: {port} }}\nheartbeat: {{ {heartbeat} }}\n{extra}");
    fs::write(daemon_dir.path().join(format!("{id}.yaml")), yaml).unwrap();
}

/// The entry of a shell script that stands in for a program, and `more` settings of it.
pub(super) fn stand_in(daemon_dir: &DaemonDir, id: &str, script: &str, more: &str) -> String {
    let path = daemon_dir.path().join(format!("{id}.sh"));
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("id: {id}, binary_path: \"{}\"{more}", path.display())
}

/// The loopback address with this port.
pub(super) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Waits until all these agents are Running, and returns their pids.
pub(super) fn running(daemon_dir: &DaemonDir, ids: &[&str]) -> Vec<u32> {
    ids.iter().map(|id| daemon_dir.wait_for_state(id, "running").expect("a process")).collect()
}

/// Waits until the agent is Running with another pid than `before`.
pub(super) fn running_anew(daemon_dir: &DaemonDir, id: &str, before: u32) -> Value {
    daemon_dir.wait_for(id, "runs as another process", |agent| {
        agent["state"] == "running" && agent["pid"].as_u64().is_some_and(|pid| pid != u64::from(before))
    })
}

/// Waits until an agent's own API reports this state, and returns the answer.
pub(super) fn health(port: u16, state: &str) -> Value {
    wait_until(&format!("the agent says {state}"), || get(local(port), "/health").json()["state"] == state);
    get(local(port), "/health").json()
}

/// The causes of an agent's latest transitions, in one line.
pub(super) fn causes(agent: &Value) -> String {
    let history = agent["history"].as_array().cloned().unwrap_or_default();
    history.iter().filter_map(|moved| moved["cause"].as_str()).collect::<Vec<_>>().join("; ")
}

/// The cause that contains `part`.
pub(super) fn cause_with(agent: &Value, part: &str) -> String {
    let history = agent["history"].as_array().cloned().unwrap_or_default();
    let cause = history.iter().filter_map(|moved| moved["cause"].as_str()).find(|cause| cause.contains(part));
    cause.unwrap_or_else(|| panic!("no {part:?} in: {}", causes(agent))).to_owned()
}

/// Sends SIGKILL.
pub(super) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}
