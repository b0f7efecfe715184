//! The files of a daemon under test, its two agents, and their expected state.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::process::ask;
use crate::support::daemon::DaemonDir;
use crate::support::programs;

/// A directory with a configuration for two agents. `a` is this project's agent with all five checks, `b` is `sleep`
/// without checks.
pub(super) struct Host {
    pub(super) dir: DaemonDir,
    /// Reserves the ports of daemon and agent.
    pub(super) held: [OwnedFd; 2],
    /// The port of the daemon.
    pub(super) port: u16,
}

impl Host {
    pub(super) fn new() -> Self {
        let dir = DaemonDir::new(&[]);
        let ((for_daemon, port), (for_agent, agent_port)) = (free_port(), free_port());
        let state_file = DaemonDir::status_file("a");
        let checks = format!(
            "interval: 200ms, start_grace: 200ms, heartbeat_timeout: 20s, http_endpoint: \"http://127.0.0.1:{agent_port}/livez\", \
             state_file: {state_file}, state_max_age: 20s, cpu_threshold: 99, threshold_duration: 10m"
        );
        let restart = "restart: { backoff_base: 100ms, backoff_max: 100ms, max_retries: 1000000 }";
        let no_checks =
            "interval: 200ms, start_grace: 200ms, heartbeat_timeout: 0, cpu_threshold: 0, memory_threshold: 0";
        let binary = programs::agent();
        let yaml = format!(
            "daemon: {{ work_dir: state, http: {{ port: {port} }}, log: {{ file: daemon.log }} }}\nagents:\n\
             \x20 - {{ id: a, binary_path: {binary}, config_file: a.yaml, health_check: {{ {checks} }}, {restart} }}\n\
             \x20 - {{ id: b, binary_path: /bin/sleep, args: [\"1000\"], health_check: {{ {no_checks} }}, {restart} }}\n"
        );
        fs::write(dir.path().join("daemon.yaml"), yaml).expect("a configuration");
        let socket = dir.socket();
        let agent = format!(
            "agent_id: a\nhttp: {{ port: {agent_port} }}\nstate: {{ refresh: 5s }}\n\
             heartbeat: {{ url: \"unix://{}\", interval: 200ms }}\n",
            socket.display()
        );
        fs::write(dir.path().join("a.yaml"), agent).expect("a configuration");
        Self { dir, held: [for_daemon, for_agent], port }
    }
}

/// A free port, and the socket that reserves it until a program listens on it.
fn free_port() -> (OwnedFd, u16) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_reuseaddr(&held, true).expect("an option");
    bind(&held, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    let address = SocketAddr::try_from(getsockname(&held).expect("a name")).expect("an address");
    (held, address.port())
}

/// The daemon's view of an agent.
pub(super) fn agent(port: u16, id: &str) -> Option<Value> {
    let (_, body) = ask(port, "GET", &format!("/agents/{id}"), "*/*")?;
    serde_json::from_str(&body).ok()
}

/// The first problem of the daemon or an agent.
pub(super) fn problem(port: u16, dir: &DaemonDir) -> Option<String> {
    let Some((200, health)) = ask(port, "GET", "/health", "*/*") else {
        return Some(format!("GET /health: {:?}", ask(port, "GET", "/health", "*/*")));
    };
    let mut pids = Vec::new();
    for id in ["a", "b"] {
        let Some(agent) = agent(port, id) else { return Some(format!("no answer about {id}; {health}")) };
        let signals = agent["signals"].as_array().cloned().unwrap_or_default();
        let is_ok = |signal: &Value| matches!(signal["verdict"].as_str(), Some("ok" | "off"));
        if agent["state"] != "running" || !signals.iter().all(is_ok) {
            return Some(agent.to_string());
        }
        pids.extend(agent["pid"].as_u64());
    }
    let mut running: Vec<u64> = dir.survivors().into_iter().map(u64::from).collect();
    running.sort_unstable();
    pids.sort_unstable();
    (running != pids).then(|| format!("the daemon reports the processes {pids:?}, but {running:?} are running"))
}

/// The files and directories on which disk errors are injected.
pub(super) fn own_files(dir: &Path) -> Vec<PathBuf> {
    let names = [
        "daemon.yaml",
        "daemon.log",
        "state",
        "state/registry.ron",
        "state/.registry.ron.tmp",
        "state/registry.ron.lock",
        "state/daemon.sock",
        "state/daemon.sock.lock",
        "state/agents/a/state/a.ron",
        "state/agents/a/logs/agent.log",
        "state/agents/b",
        "state/agents/b/logs",
        "state/agents/b/logs/agent.log",
    ];
    names.iter().map(|name| dir.join(name)).collect()
}
