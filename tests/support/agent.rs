//! A real agent: the built binary in its own process, with its own directory and port.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::programs;

/// The limit for anything that a test waits for, even on a busy machine. A passing test never waits that long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until the condition holds. For conditions without an event to wait for.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "timed out waiting until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running agent. It is killed when dropped.
pub(crate) struct Agent {
    child: Child,
    lines: Receiver<Value>,
    /// Every log line that was read.
    pub(crate) seen: Vec<Value>,
    port: Option<u16>,
}

/// A directory for an agent, with a configuration.
pub(crate) struct AgentDir {
    directory: TempDir,
}

impl AgentDir {
    /// A directory with `agent.yaml` alone: an agent ID, port 0 unless `extra` sets it, and `extra`.
    pub(crate) fn new(extra: &str) -> Self {
        let agent_dir = Self { directory: tempfile::tempdir().unwrap() };
        agent_dir.configure(extra);
        agent_dir
    }

    /// Writes another configuration.
    pub(crate) fn configure(&self, extra: &str) {
        let http = if extra.lines().any(|line| line.starts_with("http:")) { "" } else { "http: { port: 0 }\n" };
        fs::write(self.path().join("agent.yaml"), format!("agent_id: tested\n{http}{extra}")).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the agent writes its status.
    pub(crate) fn status_file(&self) -> PathBuf {
        self.path().join("state/tested.ron")
    }

    /// `agent` with these arguments, in this directory, with a clean environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(programs::agent());
        command.args(args).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// Starts the agent without waiting.
    pub(crate) fn spawn(&self) -> Agent {
        Agent::spawn(self.command(&["run", "--config", "agent.yaml"]))
    }

    /// Starts the agent, and waits until it logs that it is Running.
    pub(crate) fn start(&self) -> Agent {
        let mut agent = self.spawn();
        agent.wait_for_state("Running");
        agent
    }
}

impl Agent {
    /// Starts `command`, whose standard output is a log in JSON lines.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, seen: Vec::new(), port: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next log line that fits.
    pub(crate) fn wait_for(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()));
            let Ok(line) = line else { panic!("no line that says {what}; its log: {:#?}", self.seen) };
            self.seen.push(line.clone());
            if fits(&line) {
                return line;
            }
        }
    }

    /// Waits for the transition to this state, and returns its log line.
    pub(crate) fn wait_for_state(&mut self, state: &str) -> Value {
        self.wait_for(&format!("that it is {state}"), |line| line["to"] == state)
    }

    /// Waits for a line with this message.
    pub(crate) fn wait_for_message(&mut self, message: &str) -> Value {
        self.wait_for(message, |line| line["message"].as_str().is_some_and(|text| text.contains(message)))
    }

    /// The port of its API, from its log.
    pub(crate) fn port(&mut self) -> u16 {
        if self.port.is_none() {
            let known = self.seen.iter().find(|line| line["message"] == "listening").cloned();
            let line = known.unwrap_or_else(|| self.wait_for_message("listening"));
            self.port = line["address"].as_str().and_then(|address| address.rsplit(':').next()?.parse().ok());
        }
        self.port.expect("a port")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = self.wait_within(DEADLINE);
        ended.unwrap_or_else(|| panic!("it does not end; its log: {:#?}", self.seen))
    }

    /// The same, or `None` after `limit`.
    pub(crate) fn wait_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > until {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGTERM and returns the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait().code()
    }

    /// The whole log, once the process has ended.
    pub(crate) fn rest_of_the_log(&mut self) -> &[Value] {
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.seen.push(line);
        }
        &self.seen
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
