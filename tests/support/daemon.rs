//! A real daemon with real agents: the built binaries in their own directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::agent::{Agent, wait_until};
use super::programs;

/// A directory for a daemon and its agents. On drop, it kills their remaining processes.
pub(crate) struct DaemonDir {
    directory: TempDir,
}

/// The entry of one agent in the configuration of a [`DaemonDir`].
pub(crate) struct AgentEntry {
    id: String,
    health: String,
    more: String,
}

impl AgentEntry {
    /// This project's agent. It sends heartbeats over the socket, and no check of it depends on the speed of the
    /// machine.
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), health: "heartbeat_timeout: 10m".to_owned(), more: String::new() }
    }

    /// With these checks instead, for example `heartbeat_timeout: 0, state_max_age: 5s`.
    pub(crate) fn judged_by(mut self, health: &str) -> Self {
        health.clone_into(&mut self.health);
        self
    }

    /// With one more setting, for example `restart: { policy: never }`.
    pub(crate) fn with(mut self, setting: &str) -> Self {
        self.more.push_str(&format!("    {setting}\n"));
        self
    }
}

impl DaemonDir {
    /// A daemon configuration with these agents, each with its own agent configuration.
    pub(crate) fn new(members: &[AgentEntry]) -> Self {
        let daemon_dir = Self { directory: tempfile::tempdir().unwrap() };
        daemon_dir.configure(members);
        daemon_dir
    }

    /// Writes another configuration.
    pub(crate) fn configure(&self, members: &[AgentEntry]) {
        let binary = programs::agent();
        let mut yaml = "daemon: { work_dir: state, http: { port: 0 } }\nagents:\n".to_owned();
        for AgentEntry { id, health, more } in members {
            let checks = format!("interval: 200ms, cpu_threshold: 0, memory_threshold: 0, {health}");
            yaml.push_str(&format!("  - id: {id}\n    binary_path: {binary}\n    config_file: {id}.yaml\n"));
            yaml.push_str(&format!("    health_check: {{ {checks} }}\n{more}"));
            self.configure_agent(id, "");
        }
        if members.is_empty() {
            yaml.push_str("  []\n");
        }
        fs::write(self.path().join("daemon.yaml"), yaml).unwrap();
    }

    /// Writes an agent's configuration: `extra` after its id, a free port and heartbeats to the daemon's socket.
    pub(crate) fn configure_agent(&self, id: &str, extra: &str) {
        let socket = self.socket();
        let heartbeat = format!("heartbeat: {{ url: \"unix://{}\", interval: 200ms }}", socket.display());
        let yaml = format!("agent_id: {id}\nhttp: {{ port: 0 }}\n{heartbeat}\n{extra}");
        fs::write(self.path().join(format!("{id}.yaml")), yaml).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("state/daemon.sock")
    }

    /// The path of an agent's status file for `state_file`, relative to the daemon's directory.
    pub(crate) fn status_file(id: &str) -> String {
        format!("state/agents/{id}/state/{id}.ron")
    }

    /// `daemon` with these arguments, in this directory, with a clean environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(programs::daemon());
        command.args(args).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// Starts the daemon, and waits until it listens.
    pub(crate) fn start(&self) -> Agent {
        self.start_with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(&self, args: &[&str]) -> Agent {
        let mut command = self.command(&["run", "--config", "daemon.yaml"]);
        command.args(args);
        let mut daemon = Agent::spawn(command);
        daemon.wait_for("that it listens at its socket", |line| line["socket"].is_string());
        daemon
    }

    /// Runs a command that queries the daemon.
    pub(crate) fn ask(&self, args: &[&str]) -> Output {
        self.command(args).args(["--config", "daemon.yaml"]).output().unwrap()
    }

    /// The daemon's status of one agent.
    pub(crate) fn agent(&self, id: &str) -> Value {
        let output = self.ask(&["status", "--output", "json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let agents = status["agents"].as_array().cloned().unwrap_or_default();
        agents.into_iter().find(|agent| agent["agent_id"] == id).unwrap_or_default()
    }

    /// The pid of an agent, if it has a process.
    pub(crate) fn pid(&self, id: &str) -> Option<u32> {
        self.agent(id)["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    /// Waits until the daemon's status of an agent `fits`.
    pub(crate) fn wait_for(&self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("{id} {what}"), || fits(&self.agent(id)));
        self.agent(id)
    }

    /// Waits until an agent is in this state, and returns its pid.
    pub(crate) fn wait_for_state(&self, id: &str, state: &str) -> Option<u32> {
        self.wait_for(id, &format!("is {state}"), |agent| agent["state"] == state);
        self.pid(id)
    }

    /// The live processes that any daemon started from this directory.
    pub(crate) fn survivors(&self) -> Vec<u32> {
        let here = fs::canonicalize(self.path()).unwrap().into_os_string().into_encoded_bytes();
        let is_ours = |environment: &[u8]| {
            environment.split(|byte| *byte == 0).any(|line| {
                line.starts_with(b"OPS_AGENT_SUPERVISED_AS=")
                    && line.windows(here.len()).any(|part| part == here.as_slice())
            })
        };
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| fs::read(format!("/proc/{pid}/environ")).is_ok_and(|text| is_ours(&text))).collect()
    }
}

impl Drop for DaemonDir {
    fn drop(&mut self) {
        for pid in self.survivors() {
            signal(pid, Signal::KILL);
        }
    }
}

/// The start secret in the environment of an agent.
pub(crate) fn start_secret(pid: u32) -> String {
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("an environment");
    let environment = String::from_utf8_lossy(&environment);
    let secret = environment.split('\0').find_map(|line| line.strip_prefix("OPS_AGENT_START_SECRET="));
    secret.expect("a start secret").to_owned()
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Sends a signal to a process, if it exists.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal);
}
