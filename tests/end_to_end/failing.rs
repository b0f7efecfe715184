//! Agents that fail in different ways, and how the daemon reacts.

use std::net::TcpStream;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use super::report::Scenario;
use super::setup::{
    cause_with, configure_ours, configure_ours_for, daemon_dir, free_port, health, kill, local, ours, running,
    running_anew, stand_in,
};
use crate::support::agent::Agent;
use crate::support::daemon::{DaemonDir, signal};
use crate::support::http::request;

/// The entries are written after the directory exists, because stand-ins have their scripts in it.
fn daemon_dir_with(entries: impl FnOnce(&DaemonDir) -> Vec<String>) -> DaemonDir {
    let daemon_dir = DaemonDir::new(&[]);
    let entries = entries(&daemon_dir);
    super::setup::configure(&daemon_dir, 0, &entries);
    daemon_dir
}

#[test]
fn the_first_crash_restarts_at_once_and_the_second_after_a_backoff() {
    let mut scenario = Scenario::begin(
        "crash",
        "kill -9: restarted at once; once more: Backoff for `backoff_base` (1 h here); `start` ends the wait; no other agent \
         is touched",
    );
    let daemon_dir =
        daemon_dir(0, &[ours("crashing", ", restart: { backoff_base: 1h, backoff_max: 1h }"), ours("calm", "")]);
    configure_ours(&daemon_dir, "crashing", 0, "");
    configure_ours(&daemon_dir, "calm", 0, "");
    let _daemon = daemon_dir.start();
    let [first, calm] = running(&daemon_dir, &["crashing", "calm"])[..] else { panic!("two agents") };
    let died = Instant::now();
    kill(first);
    let again = running_anew(&daemon_dir, "crashing", first);
    scenario.saw(format!("running again after {:.1} s", died.elapsed().as_secs_f64()));
    cause_with(&again, "killed by signal 9");
    assert_eq!(again["restarts"], 1);

    kill(u32::try_from(again["pid"].as_u64().unwrap()).unwrap());
    let waiting = daemon_dir.wait_for("crashing", "waits", |agent| agent["state"] == "backoff");
    let left = waiting["next_start_s"].as_f64().unwrap();
    assert!((1800.0..=3600.0).contains(&left), "{waiting}");
    scenario.saw(format!("then backoff, {left:.0} s left"));
    assert_eq!(daemon_dir.ask(&["status"]).status.code(), Some(1), "not all is well");
    assert_eq!(daemon_dir.ask(&["start", "crashing"]).status.code(), Some(0));
    assert_eq!(daemon_dir.pid("calm"), Some(calm));
}

#[test]
fn an_agent_without_heartbeats_is_restarted_whether_it_ever_sent_one_or_not() {
    let mut scenario = Scenario::begin(
        "heartbeat lost",
        "an agent that sends its heartbeats elsewhere from now on, and a program that never sent one, are restarted after \
         `heartbeat_timeout`",
    );
    let checks = ", health_check: { heartbeat_timeout: 5s }";
    let daemon_dir = daemon_dir_with(|daemon_dir| {
        vec![ours("elsewhere", checks), stand_in(daemon_dir, "mute", "exec sleep 3600", checks)]
    });
    let port = free_port();
    configure_ours(&daemon_dir, "elsewhere", port, "");
    let _daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["elsewhere"])[0];
    health(port, "running");
    let elsewhere = format!("url: \"unix://{}\"", daemon_dir.path().join("absent.sock").display());
    configure_ours_for(&daemon_dir, "elsewhere", port, &elsewhere, "");
    let since = Instant::now();
    assert_eq!(request(local(port), "POST", "/reload", "content-length: 0\r\n").status, 200);
    // The next process reads this configuration.
    configure_ours(&daemon_dir, "elsewhere", port, "");
    let again = running_anew(&daemon_dir, "elsewhere", before);
    let cause = cause_with(&again, "restarted: no heartbeat");
    scenario.saw(format!("astray: \"{cause}\", running again after {:.1} s", since.elapsed().as_secs_f64()));

    let mute = daemon_dir.wait_for("mute", "was restarted", |agent| agent["restarts"].as_u64() > Some(0));
    scenario.saw(format!("mute: \"{}\"", cause_with(&mute, "restarted: no heartbeat")));
}

#[test]
fn a_hung_agent_with_an_open_port_is_detected_by_its_file_and_restarted() {
    let mut scenario = Scenario::begin(
        "hung agent",
        "SIGSTOP: the process is there, its port open, its file stale; `why` says that the writer is stuck; restarted once \
         the file is past its `valid_until` (3 s)",
    );
    let checked = |id: &str, port: u16, more: &str| {
        let (file, url) = (DaemonDir::status_file(id), format!("http://127.0.0.1:{port}/livez"));
        let checks = format!("http_endpoint: \"{url}\", state_file: {file}, state_max_age: 4s, start_grace: 3s");
        ours(id, &format!(", health_check: {{ {checks} }}{more}"))
    };
    let ports = [free_port(), free_port()];
    let reported = checked("reported", ports[1], ", restart: { policy: never }");
    let daemon_dir = daemon_dir(0, &[checked("hung", ports[0], ""), reported]);
    for (id, port) in ["hung", "reported"].into_iter().zip(ports) {
        configure_ours(&daemon_dir, id, port, "state: { refresh: 1s }\n");
    }
    let _daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["hung", "reported"]);
    let since = Instant::now();
    before.iter().for_each(|&pid| signal(pid, Signal::STOP));
    TcpStream::connect(local(ports[1])).expect("the kernel still takes connections");

    let reported = daemon_dir.wait_for("reported", "is explained", |agent| {
        agent["why"].as_str().is_some_and(|why| why.contains("the writer of the file hangs"))
    });
    scenario.saw(format!("why: {} after {:.1} s", reported["why"], since.elapsed().as_secs_f64()));
    assert_eq!(reported["pid"], before[1], "reported only, as its policy has it");
    assert_eq!(daemon_dir.ask(&["why", "reported"]).status.code(), Some(1));
    let again = running_anew(&daemon_dir, "hung", before[0]);
    let cause = cause_with(&again, "status file frozen for");
    scenario.saw(format!("\"{cause}\", running again after {:.1} s", since.elapsed().as_secs_f64()));
}

#[test]
fn a_hang_in_http_is_noticed_as_fast_as_its_limits_allow() {
    let mut scenario = Scenario::begin(
        "HTTP hangs",
        "two agents whose endpoints hang at the same moment: the one with `http_timeout: 1s, http_failures: 2` is bad before \
         the one with the defaults (5 s, 3 failures) has failed often enough; both are restarted; a reload changes the limits \
         of a running process",
    );
    let ports = [free_port(), free_port()];
    let checked = |id: &str, port: u16, limits: &str| {
        let url = format!("http://127.0.0.1:{port}/livez");
        ours(id, &format!(", health_check: {{ http_endpoint: \"{url}\", interval: 1s{limits} }}"))
    };
    let entries = |limits: &str| [checked("fast", ports[0], limits), checked("slow", ports[1], "")];
    let daemon_dir = daemon_dir(0, &entries(""));
    for (id, port) in ["fast", "slow"].into_iter().zip(ports) {
        configure_ours(&daemon_dir, id, port, "");
    }
    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["fast", "slow"]);
    super::setup::configure(&daemon_dir, 0, &entries(", http_timeout: 1s, http_failures: 2"));
    daemon.signal(Signal::HUP);
    daemon.wait_for_message("configuration reloaded");
    assert_eq!(running(&daemon_dir, &["fast", "slow"]), before, "the processes keep running");

    let since = Instant::now();
    // The slow one first, so that it is not slower because it hangs later.
    before.iter().rev().for_each(|&pid| signal(pid, Signal::STOP));
    let fast = daemon_dir.wait_for("fast", "was restarted", |agent| agent["restarts"].as_u64() > Some(0));
    let slow = daemon_dir.agent("slow");
    scenario.saw(format!(
        "fast: \"{}\" after {:.1} s",
        cause_with(&fast, "restarted: HTTP"),
        since.elapsed().as_secs_f64()
    ));
    assert!(cause_with(&fast, "restarted: HTTP").contains("does not answer within 1 s"), "{fast}");
    assert_eq!(slow["pid"], before[1], "{slow}");
    let slow = daemon_dir.wait_for("slow", "was restarted", |agent| agent["restarts"].as_u64() > Some(0));
    let cause = cause_with(&slow, "restarted: HTTP");
    assert!(cause.contains("does not answer within 5 s"), "{slow}");
    scenario.saw(format!("slow: \"{cause}\" after {:.1} s", since.elapsed().as_secs_f64()));
}

#[test]
fn an_agent_over_its_resource_limits_is_restarted() {
    let mut scenario = Scenario::begin(
        "CPU and memory over the threshold",
        "restarted after `threshold_duration` (1 s), with the figures in the cause; an agent without thresholds is not",
    );
    let limited = |limit: &str| format!(", health_check: {{ heartbeat_timeout: 0, {limit}, threshold_duration: 1s }}");
    let daemon_dir = daemon_dir_with(|daemon_dir| {
        // 0.1 % of all CPUs is less than one CPU on any machine.
        let busy = stand_in(daemon_dir, "busy", "while :; do :; done", &limited("cpu_threshold: 0.1"));
        let large = "data=$(head -c 64000000 /dev/zero | tr '\\0' x)\nwhile :; do sleep 1; done";
        let large = stand_in(daemon_dir, "large", large, &limited("memory_threshold: 33554432"));
        vec![busy, large, ours("calm", "")]
    });
    configure_ours(&daemon_dir, "calm", 0, "");
    let _daemon = daemon_dir.start();
    let calm = running(&daemon_dir, &["calm"]);
    for (id, cause) in [("busy", "% CPU, more than 0.1 %"), ("large", "MiB of memory, more than 32 MiB")] {
        let agent = daemon_dir.wait_for(id, "was restarted", |agent| agent["restarts"].as_u64() > Some(0));
        scenario.saw(format!("{id}: \"{}\"", cause_with(&agent, cause)));
    }
    assert_eq!(running(&daemon_dir, &["calm"]), calm);
}

#[test]
fn exit_code_78_is_not_retried_and_the_last_output_is_logged() {
    let mut scenario = Scenario::begin(
        "exit code 78",
        "Failed at once, never restarted, the last lines of its output in the daemon's log and in `logs`",
    );
    let script = "echo starting\necho 'output.hosts: unknown host' >&2\nexit 78";
    let daemon_dir = daemon_dir_with(|daemon_dir| vec![stand_in(daemon_dir, "misconfigured", script, "")]);
    let mut daemon = daemon_dir.start();
    let words = daemon.wait_for_message("last output");
    assert_eq!(words["output"], "starting\noutput.hosts: unknown host");
    let agent = daemon_dir.wait_for("misconfigured", "is given up", |agent| agent["state"] == "failed");
    assert_eq!((&agent["restarts"], &agent["pid"]), (&0.into(), &serde_json::Value::Null));
    let logs = String::from_utf8(daemon_dir.ask(&["logs", "misconfigured"]).stdout).unwrap();
    assert!(logs.ends_with("starting\noutput.hosts: unknown host\n"), "{logs}");
    assert_eq!(daemon_dir.ask(&["start", "misconfigured"]).status.code(), Some(1));
    scenario.saw(format!("{}, no restart", agent["why"]));
}

#[test]
fn the_last_output_is_that_of_the_process_that_ended() {
    let script = "if [ -e ran ]; then echo second; exit 78; fi\ntouch ran\necho first\nexit 1";
    let daemon_dir = daemon_dir_with(|daemon_dir| vec![stand_in(daemon_dir, "twice", script, "")]);
    let mut daemon = daemon_dir.start();
    for expected in ["first", "second"] {
        assert_eq!(daemon.wait_for_message("last output")["output"], expected);
    }
    let agent = daemon_dir.wait_for("twice", "shows its end", |agent| agent["last_exit"]["output"][0] == "second");
    let exit = &agent["last_exit"];
    assert_eq!(
        (&exit["code"], &exit["signal"], exit["output"].as_array().map(Vec::len)),
        (&78.into(), &Value::Null, Some(1))
    );
    assert_eq!(agent["reason"]["code"], "exit_no_restart");
    let why = String::from_utf8(daemon_dir.ask(&["why", "twice"]).stdout).unwrap();
    assert!(why.contains("its output  second") && why.contains("exit_no_restart"), "{why}");
    let logs = String::from_utf8(daemon_dir.ask(&["logs", "twice"]).stdout).unwrap();
    let lines: Vec<&str> = logs.lines().map(|line| line.split(" at ").next().unwrap()).collect();
    let start = "=== started by the daemon";
    assert_eq!(lines, [start, "first", start, "second"], "the log keeps both, each with the time of its start");
}

#[test]
fn agents_do_not_inherit_what_the_service_manager_gave_to_the_daemon() {
    let names = [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "JOURNAL_STREAM",
        "INVOCATION_ID",
        "SYSTEMD_EXEC_PID",
        "STATE_DIRECTORY",
        "RUNTIME_DIRECTORY",
        "CACHE_DIRECTORY",
        "LOGS_DIRECTORY",
        "CONFIGURATION_DIRECTORY",
        "CREDENTIALS_DIRECTORY",
    ];
    let daemon_dir = daemon_dir_with(|daemon_dir| vec![stand_in(daemon_dir, "curious", "env\nexit 78", "")]);
    let mut command = daemon_dir.command(&["run", "--config", "daemon.yaml"]);
    command.envs(names.map(|name| (name, "1"))).env("KEPT", "yes");
    let mut daemon = Agent::spawn(command);
    daemon.wait_for_message("last output");
    let output = String::from_utf8(daemon_dir.ask(&["logs", "--lines", "1000", "curious"]).stdout).unwrap();
    assert!(output.lines().any(|line| line == "KEPT=yes"), "the rest of the environment is inherited: {output}");
    for name in names {
        assert!(!output.lines().any(|line| line.starts_with(&format!("{name}="))), "{name} in {output}");
    }
}
