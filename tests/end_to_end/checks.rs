//! The checks of services and open files, with real programs.

use std::fs;

use rustix::process::Signal;
use test_requirements::requires;

use super::report::Scenario;
use super::setup::{cause_with, configure, free_port, running, running_anew};
use crate::support::daemon::{DaemonDir, signal};

/// The entry of a program in Python with these checks, and `more` settings of it.
fn python(daemon_dir: &DaemonDir, id: &str, program: &str, checks: &str, more: &str) -> String {
    let path = daemon_dir.path().join(format!("{id}.py"));
    fs::write(&path, program).unwrap();
    let checks = format!("health_check: {{ heartbeat_timeout: 0, {checks} }}");
    format!("id: {id}, binary_path: /usr/bin/env, args: [python3, \"{}\"], {checks}{more}", path.display())
}

/// Listens at a port with room for one connection that waits, and accepts until there is a file `full`. Ignores SIGTERM.
fn listener(port: u16) -> String {
    format!(
        "import os, signal, socket\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         listener = socket.socket()\n\
         listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
         listener.bind(('127.0.0.1', {port}))\n\
         listener.listen(0)\n\
         listener.settimeout(0.1)\n\
         while not os.path.exists('full'):\n    \
             try:\n        \
                 listener.accept()[0].close()\n    \
             except TimeoutError:\n        \
                 pass\n\
         while True:\n    \
             signal.pause()\n"
    )
}

#[requires("python3")]
#[test]
fn a_listener_that_no_longer_accepts_is_restarted_as_one_that_hangs() {
    let mut scenario = Scenario::begin(
        "TCP check",
        "a program that no longer accepts connections is bad after `http_failures` checks; TCP is its only liveness check, so \
         it gets `hung_stop_timeout` (1 s) and not `stop_timeout` (1 h)",
    );
    let daemon_dir = DaemonDir::new(&[]);
    let port = free_port();
    let checks = format!("tcp: \"localhost:{port}\", interval: 1s, http_timeout: 1s, http_failures: 2");
    let more = ", stop_timeout: 1h, hung_stop_timeout: 1s";
    configure(&daemon_dir, 0, &[python(&daemon_dir, "listener", &listener(port), &checks, more)]);
    let _daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["listener"])[0];
    let full = daemon_dir.path().join("state/agents/listener/full");
    fs::write(&full, "").unwrap();
    let agent = daemon_dir.wait_for("listener", "is stopped", |agent| agent["pid"] != before);
    fs::remove_file(full).unwrap();
    assert_eq!(agent["reason"]["code"], "tcp", "{agent}");
    let cause = cause_with(&agent, "TCP port accepts no connection within 1 s");
    scenario.saw(format!("\"{cause}\""));
    let again = running_anew(&daemon_dir, "listener", before);
    assert_eq!(again["restarts_by_reason"]["tcp"], 1, "{again}");
    cause_with(&again, "killed by signal 9");
}

#[requires("python3")]
#[test]
fn a_stopped_web_server_still_accepts_and_no_longer_answers() {
    let mut scenario = Scenario::begin(
        "HTTP and TCP",
        "Python's http.server after SIGSTOP: the kernel still accepts connections for it, so TCP is good, HTTP is bad, and \
         `why` says both",
    );
    let daemon_dir = DaemonDir::new(&[]);
    let port = free_port();
    let checks = format!(
        "http_endpoint: \"http://127.0.0.1:{port}/\", tcp: \"127.0.0.1:{port}\", interval: 1s, http_timeout: 1s, http_failures: 2"
    );
    let server =
        format!("id: web, binary_path: /usr/bin/env, args: [python3, -m, http.server, \"{port}\", --bind, 127.0.0.1]");
    let entry = format!("{server}, restart: {{ policy: never }}, health_check: {{ heartbeat_timeout: 0, {checks} }}");
    configure(&daemon_dir, 0, &[entry]);
    let _daemon = daemon_dir.start();
    let pid = running(&daemon_dir, &["web"])[0];
    signal(pid, Signal::STOP);
    let stopped = daemon_dir.wait_for("web", "is unhealthy", |agent| agent["state"] == "unhealthy");
    let why = stopped["why"].as_str().unwrap_or_default();
    assert!(why.starts_with("TCP port accepts, HTTP does not answer within 1 s for"), "{why}");
    scenario.saw(format!("why: {why}"));
    signal(pid, Signal::CONT);
    assert_eq!(running(&daemon_dir, &["web"]), [pid]);
}

#[requires("python3")]
#[test]
fn open_files_are_counted_over_the_tree() {
    let mut scenario = Scenario::begin(
        "open files",
        "three processes with 80 open files each are over `open_files_threshold` (200) together, and the figures are in the \
         cause; without a threshold nothing is counted",
    );
    let program = "import os, signal\n\
                   os.fork() and os.fork()\n\
                   files = [open('/dev/null') for _ in range(80)]\n\
                   while True:\n    \
                       signal.pause()\n";
    let daemon_dir = DaemonDir::new(&[]);
    let limited = python(&daemon_dir, "many", program, "open_files_threshold: 200, threshold_duration: 1s", "");
    let free = python(&daemon_dir, "free", program, "memory_threshold: 1125899906842624", "");
    configure(&daemon_dir, 0, &[limited, free]);
    let _daemon = daemon_dir.start();
    let counted = daemon_dir.wait_for("many", "is counted", |agent| agent["open_files"].as_u64() > Some(240));
    scenario.saw(format!("{} open files", counted["open_files"]));
    let again = daemon_dir.wait_for("many", "was restarted", |agent| agent["restarts"].as_u64() > Some(0));
    scenario.saw(format!("\"{}\"", cause_with(&again, "open files, more than 200")));
    let free = daemon_dir.wait_for("free", "was sampled", |agent| agent["memory_bytes"].is_u64());
    assert!(free["open_files"].is_null(), "{free}");
}
