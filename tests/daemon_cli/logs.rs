//! `daemon logs`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _, pipe};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::agent::DEADLINE;
use crate::support::daemon::DaemonDir;

use super::stdout;

/// A daemon whose agent prints the lines of a pipe, until it is stopped.
fn daemon_dir() -> DaemonDir {
    let daemon_dir = DaemonDir::new(&[]);
    let checks = "heartbeat_timeout: 0, start_grace: 0s, interval: 200ms, cpu_threshold: 0, memory_threshold: 0";
    let agent = format!(
        "{{ id: one, binary_path: /bin/sh, args: [-c, \"echo hello; exec sleep 600\"], health_check: {{ {checks} }} }}"
    );
    let yaml = format!("daemon: {{ work_dir: state, http: {{ port: 0 }} }}\nagents: [{agent}]\n");
    fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    daemon_dir
}

/// `daemon logs -f`, and what it prints.
struct Follower(Child, Receiver<String>);

impl Follower {
    fn of(daemon_dir: &DaemonDir) -> Self {
        let mut command = daemon_dir.command(&["logs", "one", "-f", "--config", "daemon.yaml"]);
        // One pipe for both, which keeps the order of what it prints.
        let (output, write) = pipe().unwrap();
        let child = command.stdout(write.try_clone().unwrap()).stderr(write).spawn().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self(child, lines)
    }

    /// Waits for a line, and returns those before it.
    fn wait_for(&self, text: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let line = self.1.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no {text:?} after {before:?}"));
            if line.contains(text) {
                return before;
            }
            before.push(line);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn each_start_is_marked_with_its_time_between_the_outputs() {
    let daemon_dir = daemon_dir();
    let _daemon = daemon_dir.start();
    daemon_dir.wait_for_state("one", "running");
    assert!(daemon_dir.ask(&["restart", "one"]).status.success());
    let marks = || stdout(&daemon_dir.ask(&["logs", "one"])).matches("started by the daemon at 2").count();
    let hellos = || stdout(&daemon_dir.ask(&["logs", "one"])).lines().filter(|line| *line == "hello").count();
    crate::support::agent::wait_until("both have said hello", || hellos() == 2);
    assert_eq!(marks(), 2);
}

#[test]
fn a_followed_log_goes_on_over_truncation_replacement_and_a_restart_of_the_daemon() {
    let daemon_dir = daemon_dir();
    let mut daemon = daemon_dir.start();
    daemon_dir.wait_for_state("one", "running");
    let log = daemon_dir.path().join("state/agents/one/logs/agent.log");
    let append = |text: &str| {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let mut follower = Follower::of(&daemon_dir);
    follower.wait_for("hello");
    append("first\n");
    follower.wait_for("first");
    fs::write(&log, "").unwrap();
    append("after the truncation\n");
    follower.wait_for("after the truncation");
    fs::rename(&log, log.with_extension("old")).unwrap();
    append("in another file\n");
    follower.wait_for("in another file");

    assert_eq!(daemon.stop(), Some(0));
    follower.wait_for("waiting for the daemon");
    append("while no daemon runs\n");
    let _daemon = daemon_dir.start();
    follower.wait_for("the daemon is back");
    let before = follower.wait_for("while no daemon runs");
    assert!(before.iter().all(|line| line.starts_with("-- ")), "no line twice: {before:?}");

    kill_process(Pid::from_child(&follower.0), Signal::INT).unwrap();
    assert_eq!(follower.0.wait().unwrap().code(), Some(0));
}

#[test]
fn an_unknown_agent_is_not_followed() {
    let daemon_dir = daemon_dir();
    let _daemon = daemon_dir.start();
    let output = daemon_dir.ask(&["logs", "nowhere", "-f"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
