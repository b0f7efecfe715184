//! The checks of services and open files, with real programs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use test_requirements::requires;

use super::report::Scenario;
use super::setup::{cause_with, configure, free_port, kill, running, running_anew, stand_in};
use crate::support::agent::wait_until;
use crate::support::daemon::{DaemonDir, is_there, signal};

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

/// Writes a script in the directory, and returns its path.
fn script(daemon_dir: &DaemonDir, name: &str, text: &str) -> String {
    let path = daemon_dir.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// A file in the work directory of an agent.
fn file_of(daemon_dir: &DaemonDir, id: &str, name: &str) -> PathBuf {
    daemon_dir.path().join("state/agents").join(id).join(name)
}

#[test]
fn a_program_with_the_exit_codes_of_nagios_plugins_checks_an_agent() {
    let mut scenario = Scenario::begin(
        "check by a program",
        "exit code 0: healthy; 1: a warning, and the agent is not restarted; 3: unknown; 2: restarted after `http_failures`; \
         the program has the environment of the agent without its start secret",
    );
    let daemon_dir = DaemonDir::new(&[]);
    let text = "env >environment.new; mv environment.new environment\n\
                read -r code says <verdict || exit 3\necho \"PLUGIN $says | value=1;;;\"; exit $code";
    let plugin = script(&daemon_dir, "check_plugin", text);
    let checks = format!("exec: [\"{plugin}\"], http_failures: 2, heartbeat_timeout: 0");
    let more = format!(", env: {{ GIVEN: \"yes\" }}, health_check: {{ {checks} }}");
    let entry = stand_in(&daemon_dir, "checked", "echo 0 OK >verdict; exec sleep 1000", &more);
    configure(&daemon_dir, 0, &[entry]);
    let _daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["checked"])[0];
    let says = |text: &str| {
        fs::write(file_of(&daemon_dir, "checked", "next"), text).unwrap();
        fs::rename(file_of(&daemon_dir, "checked", "next"), file_of(&daemon_dir, "checked", "verdict")).unwrap();
    };
    let exec = |agent: &Value| {
        let signals = agent["signals"].as_array().cloned().unwrap_or_default();
        signals.into_iter().find(|signal| signal["check"] == "exec").unwrap_or_default()
    };
    let environment = fs::read_to_string(file_of(&daemon_dir, "checked", "environment")).unwrap();
    assert!(
        environment.contains("GIVEN=yes") && environment.contains("OPS_AGENT_SUPERVISED_AS=checked@"),
        "{environment}"
    );
    assert!(!environment.contains("OPS_AGENT_START_SECRET"), "{environment}");

    says("1 WARNING disk 81 %\n");
    let warned = daemon_dir.wait_for("checked", "is warned of", |agent| exec(agent)["verdict"] == "noted");
    let why = warned["why"].as_str().unwrap();
    assert!(why.starts_with("check program warns, and says \"PLUGIN WARNING disk 81 % | value=1;;;\", for"), "{why}");
    scenario.saw(format!("why: {why}"));
    says("3 UNKNOWN\n");
    let unknown = daemon_dir.wait_for("checked", "is unknown", |agent| exec(agent)["verdict"] == "unknown");
    let detail = exec(&unknown)["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("exit code 3, and says \"PLUGIN UNKNOWN"), "{detail}");
    says("0 OK\n");
    assert_eq!(running(&daemon_dir, &["checked"]), [before], "it was not restarted");

    says("2 CRITICAL\n");
    let again = daemon_dir.wait_for("checked", "was restarted", |agent| agent["restarts"].as_u64() > Some(0));
    let cause = cause_with(&again, "check program finds it bad, and says \"PLUGIN CRITICAL");
    scenario.saw(format!("\"{cause}\""));
    assert_eq!(again["restarts_by_reason"]["exec"], 1, "{again}");
    running_anew(&daemon_dir, "checked", before);
}

#[test]
fn a_check_program_that_hangs_is_killed_and_belongs_to_no_agent() {
    let mut scenario = Scenario::begin(
        "check program hangs",
        "killed with all that it has started after `http_timeout`, and the agent is restarted; never two at the same time; no \
         process of it counts as one of the agent",
    );
    let daemon_dir = DaemonDir::new(&[]);
    // Fails if another one runs.
    let text = "mkdir running || { echo two >two; exit 2; }\nsetsid sleep 1000 &\necho $! >>sleepers\n\
                [ -e hang ] && exec sleep 1000\nrmdir running";
    let plugin = script(&daemon_dir, "check_hang", text);
    let checks = format!("exec: [\"{plugin}\"], http_timeout: 2s, http_failures: 1, heartbeat_timeout: 0");
    let entry = stand_in(
        &daemon_dir,
        "checked",
        "rm -rf hang running; exec sleep 1000",
        &format!(", health_check: {{ {checks} }}"),
    );
    configure(&daemon_dir, 0, &[entry]);
    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["checked"])[0];
    fs::write(file_of(&daemon_dir, "checked", "hang"), "").unwrap();
    let again = running_anew(&daemon_dir, "checked", before);
    scenario.saw(format!("\"{}\"", cause_with(&again, "check program does not end within 2 s")));
    assert!(!file_of(&daemon_dir, "checked", "two").exists(), "never two at the same time");

    // While a check hangs, the agent ends alone.
    let sleepers = || {
        let text = fs::read_to_string(file_of(&daemon_dir, "checked", "sleepers")).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| is_there(*pid)).collect::<Vec<u32>>()
    };
    let pid = running(&daemon_dir, &["checked"])[0];
    fs::write(file_of(&daemon_dir, "checked", "hang"), "").unwrap();
    wait_until("a check runs", || !sleepers().is_empty());
    kill(pid);
    let ended = daemon.wait_for("that the process ended", |line| {
        line["pid"] == pid && line["message"].as_str().is_some_and(|message| message.contains("ended"))
    });
    assert_eq!(ended["message"], "process ended", "nothing of its tree is left");
}

#[test]
fn nothing_of_a_check_outlives_the_daemon() {
    let mut scenario = Scenario::begin(
        "check programs and the end of the daemon",
        "SIGTERM and kill -9 of the daemon: the agent keeps running, and every process of its check ends; no zombie is left",
    );
    let daemon_dir = DaemonDir::new(&[]);
    let text = "setsid sh -c 'echo $$ >>sleepers; exec sleep 1000' &\necho $$ >>sleepers; exec sleep 1000";
    let plugin = script(&daemon_dir, "check_hang", text);
    let checks = format!("exec: [\"{plugin}\"], http_timeout: 1m, start_grace: 10m, heartbeat_timeout: 10m");
    configure(
        &daemon_dir,
        0,
        &[stand_in(&daemon_dir, "checked", "exec sleep 1000", &format!(", health_check: {{ {checks} }}"))],
    );
    let sleepers = || {
        let text = fs::read_to_string(file_of(&daemon_dir, "checked", "sleepers")).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| is_there(*pid)).collect::<Vec<u32>>()
    };
    for number in [Signal::TERM, Signal::KILL] {
        let mut daemon = daemon_dir.start();
        wait_until("a check runs", || sleepers().len() == 2);
        let agent = daemon_dir.pid("checked").unwrap();
        daemon.signal(number);
        daemon.wait();
        wait_until("nothing of the check is left", || sleepers().is_empty());
        assert!(is_there(agent), "the agent keeps running");
        scenario.saw(format!("{number:?}: nothing left"));
    }
}

#[test]
fn each_check_program_is_reaped() {
    let daemon_dir = DaemonDir::new(&[]);
    let plugin = script(&daemon_dir, "check_orphans", "(setsid true &); (true &); echo x >>runs");
    let checks = format!("exec: [\"{plugin}\"], heartbeat_timeout: 0");
    configure(
        &daemon_dir,
        0,
        &[stand_in(&daemon_dir, "checked", "exec sleep 1000", &format!(", health_check: {{ {checks} }}"))],
    );
    let daemon = daemon_dir.start();
    let runs = || fs::read_to_string(file_of(&daemon_dir, "checked", "runs")).unwrap_or_default().lines().count();
    wait_until("it has run several times", || runs() > 5);
    let children = || fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid())).unwrap_or_default();
    let all: Vec<u32> = children().split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    // The agent and, for a moment, the launcher of a check.
    wait_until("no zombie is left", || {
        all.iter().all(|pid| is_there(*pid) || !fs::exists(format!("/proc/{pid}")).unwrap())
    });
}
