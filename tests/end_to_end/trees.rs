//! Agents that are trees of processes, what they inherit, and heartbeats that others forge.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;
use test_requirements::requires;

use super::report::Scenario;
use super::setup::{
    cause_with, configure, configure_ours, configure_ours_for, daemon_dir, free_port, kill, local, ours, running,
    running_anew, stand_in,
};
use crate::support::agent::{Agent, wait_until};
use crate::support::daemon::{DaemonDir, is_there, signal, start_secret};
use crate::support::http::{Reply, exchange};
use crate::support::programs;

/// A daemon's directory with one script as its agent `tree`.
fn script(script: &str, more: &str) -> DaemonDir {
    script_on(0, script, more)
}

fn script_on(port: u16, script: &str, more: &str) -> DaemonDir {
    let site = DaemonDir::new(&[]);
    let entry = stand_in(&site, "tree", script, &format!(", health_check: {{ heartbeat_timeout: 0 }}{more}"));
    configure(&site, port, &[entry]);
    site
}

/// A file in the agent's work directory, once it is not empty.
fn written(site: &DaemonDir, name: &str) -> String {
    let path = site.path().join("state/agents/tree").join(name);
    let read = || fs::read_to_string(&path).unwrap_or_default();
    wait_until(&format!("{name} is written"), || read().ends_with('\n'));
    read().trim().to_owned()
}

fn pid_in(site: &DaemonDir, name: &str) -> u32 {
    written(site, name).parse().unwrap()
}

#[test]
fn a_worker_drains_although_its_wrapper_dies_of_the_stop_at_once() {
    let mut scenario = Scenario::begin(
        "wrapper",
        "a wrapper that dies of SIGTERM leaves a worker that drains: the stop waits for the worker",
    );
    let worker = "trap 'echo x >draining; while [ ! -e go ]; do sleep 0.01; done; echo x >drained; exit' TERM";
    let site = script(&format!("(setsid sh -c \"{worker}; echo x >up; while :; do sleep 0.01; done\") &\nwait"), "");
    let _daemon = site.start();
    running(&site, &["tree"]);
    written(&site, "up");
    assert_eq!(site.ask(&["stop", "--wait", "0s", "tree"]).status.code(), Some(0));
    written(&site, "draining");
    assert_eq!(site.agent("tree")["state"], "stopping");
    fs::write(site.path().join("state/agents/tree/go"), "").unwrap();
    site.wait_for_state("tree", "stopped");
    written(&site, "drained");
    scenario.saw("stopping until the worker had drained, then stopped".to_owned());
}

#[test]
fn a_stop_reaches_processes_in_sessions_of_their_own_and_without_any_environment() {
    let site =
        script("setsid sleep 1000 & echo $! >one\n(setsid env -i /bin/sleep 1000 & echo $! >two)\nexec sleep 1000", "");
    let _daemon = site.start();
    running(&site, &["tree"]);
    let others = [pid_in(&site, "one"), pid_in(&site, "two")];
    assert!(others.iter().all(|pid| is_there(*pid)));
    assert_eq!(site.ask(&["stop", "tree"]).status.code(), Some(0));
    assert!(!others.iter().any(|pid| is_there(*pid)), "nothing of it is left");
}

#[test]
fn what_a_crash_leaves_is_stopped_before_the_restart() {
    let mut scenario = Scenario::begin(
        "crash of a tree",
        "a main process that is killed leaves a worker in another session: it is stopped, and then the agent is started",
    );
    let site = script("setsid sleep 1000 & echo $! >worker-$$\necho $$ >main\nexec sleep 2000", "");
    let _daemon = site.start();
    let main = running(&site, &["tree"])[0];
    let worker = pid_in(&site, &format!("worker-{main}"));
    kill(main);
    let again = running_anew(&site, "tree", main);
    assert!(!is_there(worker));
    scenario.saw(cause_with(&again, "left 1 process"));
    cause_with(&again, "killed by signal 9");
}

#[test]
fn a_program_that_goes_to_the_background_fails_with_the_reason_and_without_copies() {
    let site =
        script("(setsid sh -c 'echo $$ >>copies; exec sleep 1000' &)\nwhile [ ! -s copies ]; do sleep 0.01; done", "");
    configure_grace(&site, "1h");
    let _daemon = site.start();
    let failed = site.wait_for("tree", "is failed", |agent| agent["state"] == "failed");
    cause_with(&failed, "went to the background: run it in the foreground");
    let copies = written(&site, "copies");
    assert_eq!(copies.lines().count(), 1, "{copies}");
    assert!(!is_there(copies.parse().unwrap()), "the copy is stopped");
}

/// Gives every agent of the configuration this grace after its start.
fn configure_grace(site: &DaemonDir, grace: &str) {
    let path = site.path().join("daemon.yaml");
    let yaml = fs::read_to_string(&path).unwrap().replace("start_grace: 0s", &format!("start_grace: {grace}"));
    fs::write(path, yaml).unwrap();
}

#[test]
fn an_agent_behind_a_wrapper_is_healthy_by_every_check() {
    let port = free_port();
    let site = daemon_dir(port, &[]);
    let (agent, heartbeat) =
        (programs::agent(), format!("url: \"http://127.0.0.1:{port}/heartbeat\", interval: 200ms"));
    let checks = "health_check: { heartbeat_timeout: 5m, state_file: wrapped.ron, state_max_age: 10m }";
    let entry = format!(
        "id: wrapped, binary_path: /bin/sh, work_dir: ., args: [-c, \"{agent} run --config wrapped.yaml; exit\"], {checks}"
    );
    configure_ours_for(&site, "wrapped", 0, &heartbeat, "state: { file: wrapped.ron }");
    configure(&site, port, &[entry]);
    let _daemon = site.start();
    running(&site, &["wrapped"]);
    let heard = site.wait_for("wrapped", "is heard", |agent| agent["heartbeats"].as_u64() > Some(3));
    assert_eq!((&heard["restarts"], &heard["heartbeats_rejected"]), (&json!(0), &json!(0)), "{heard}");
    assert_eq!(heard["state"], "running");
}

fn post_heartbeat(port: u16, pid: u32, headers: &str) -> Reply {
    let body = json!({
        "agent_id": "a", "pid": pid, "status": "running", "timestamp": "2026-01-01T00:00:00Z", "incarnation": u64::MAX,
    });
    let body = body.to_string();
    let head = format!("POST /heartbeat HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n", body.len());
    exchange(local(port), head + &body)
}

#[test]
fn a_forged_heartbeat_neither_locks_the_agent_out_nor_keeps_it_alive() {
    let mut scenario = Scenario::begin(
        "forged heartbeats",
        "a heartbeat with the right pid, but without the secret, is refused once the agent has proved itself",
    );
    let port = free_port();
    let site = daemon_dir(port, &[ours("a", ", health_check: { heartbeat_timeout: 5s }")]);
    let heartbeat = format!("url: \"http://127.0.0.1:{port}/heartbeat\", interval: 200ms");
    configure_ours_for(&site, "a", 0, &heartbeat, "");
    let _daemon = site.start();
    let pid = running(&site, &["a"])[0];
    let forged = post_heartbeat(port, pid, "");
    assert_eq!((forged.status, forged.code().as_str()), (409, "CONFLICT"), "{}", forged.body);
    assert!(forged.body.contains("OPS_AGENT_START_SECRET"), "{}", forged.body);
    assert_eq!(post_heartbeat(port, pid, "ops-start-secret: 00.00\r\n").status, 409);
    for browser in ["origin: http://127.0.0.1\r\n", "sec-fetch-site: same-origin\r\n"] {
        assert_eq!(post_heartbeat(port, pid, browser).status, 403, "{browser}");
    }
    let accepted = site.agent("a")["heartbeats"].as_u64();
    site.wait_for("a", "is heard again", |agent| agent["heartbeats"].as_u64() > accepted);

    signal(pid, Signal::STOP);
    let stopped = Instant::now();
    wait_until("the hung agent is restarted", || {
        post_heartbeat(port, pid, "");
        site.pid("a").is_some_and(|present| present != pid)
    });
    scenario
        .saw(format!("a hung agent was restarted after {:.1} s of forged heartbeats", stopped.elapsed().as_secs_f64()));
}

#[test]
fn a_page_of_another_site_reads_nothing_by_a_rebound_name() {
    let port = free_port();
    let site = daemon_dir(port, &[]);
    let _daemon = site.start();
    let get = |host: &str, headers: &str| {
        exchange(local(port), format!("GET /agents HTTP/1.1\r\nhost: {host}\r\n{headers}connection: close\r\n\r\n"))
            .status
    };
    let browser = "sec-fetch-site: same-origin\r\n";
    assert_eq!(get("rebound.example.org", browser), 403);
    assert_eq!(get("rebound.example.org", ""), 200, "a program may use any name");
    assert_eq!(get("127.0.0.1:80", browser), 200);
    assert_eq!(get("localhost", browser), 200);
}

#[test]
fn agents_inherit_no_descriptor_no_signal_setting_and_no_terminal() {
    let site = script(
        "grep -E '^Sig(Blk|Ign)' /proc/self/status >signals\nls -l /proc/$$/fd >descriptors\n\
         ulimit -n >limit\ncat /dev/tty >tty 2>&1 || echo no terminal >tty\nexec sleep 1000",
        "",
    );
    // The shell gives the daemon an open file, ignored signals and a limit. `script` runs it at a terminal of its own.
    let daemon = format!("{} run --config daemon.yaml", programs::daemon());
    let shell = format!("exec 7<daemon.yaml; trap '' HUP QUIT USR1 CHLD; ulimit -n 500; exec {daemon}");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &shell]).current_dir(site.path()).env_clear();
    let mut daemon = Agent::spawn(command);
    daemon.wait_for("that it listens at its socket", |line| line["socket"].is_string());
    let pid = running(&site, &["tree"])[0];
    // glibc leaves its own signals 32 and 33 ignored in whatever it spawns.
    let signals = written(&site, "signals").replace("0000000180000000", "0000000000000000");
    assert_eq!(signals, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000");
    let descriptors = written(&site, "descriptors");
    assert!(!descriptors.contains("daemon.yaml"), "{descriptors}");
    assert_eq!(written(&site, "limit"), "500", "the soft limit that the daemon was started with");
    assert_eq!(written(&site, "tty").lines().last(), Some("no terminal"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().to_owned();
    assert_eq!(session, pid.to_string());
}

#[test]
fn an_exit_code_is_seen_although_the_daemon_was_started_with_children_ignored() {
    let site = script("exit 78", "");
    let mut command = Command::new("/bin/sh");
    let daemon = format!("trap '' CHLD; exec {} run --config daemon.yaml", programs::daemon());
    command.args(["-c", &daemon]).current_dir(site.path()).env_clear();
    let _daemon = Agent::spawn(command);
    let failed = site.wait_for("tree", "is failed", |agent| agent["state"] == "failed");
    cause_with(&failed, "exited with code 78");
}

#[test]
fn a_stopped_agent_outlives_its_daemon() {
    for how in [Signal::TERM, Signal::KILL] {
        let site = script("sleep 1000 & echo $! >child\nexec sleep 2000", ", restart: { policy: never }");
        let mut daemon = site.start();
        let main = running(&site, &["tree"])[0];
        let child = pid_in(&site, "child");
        signal(child, Signal::STOP);
        daemon.signal(how);
        daemon.wait();
        // The next daemon takes a look at it, so its answer comes after any signal of the kernel.
        let _next = site.start();
        assert_eq!(site.wait_for_state("tree", "running"), Some(main), "{how:?}");
        assert!(is_there(child), "{how:?}");
        signal(child, Signal::CONT);
    }
}

#[test]
fn a_stop_by_an_operator_outlives_a_damaged_registry() {
    let site = script("exec sleep 1000", "");
    let mut daemon = site.start();
    running(&site, &["tree"]);
    assert_eq!(site.ask(&["stop", "tree"]).status.code(), Some(0));
    daemon.signal(Signal::TERM);
    daemon.wait();
    fs::File::options().append(true).open(site.path().join("state/registry.ron")).unwrap().write_all(b"x").unwrap();
    let _next = site.start();
    assert_eq!(site.agent("tree")["state"], "stopped");
    assert_eq!(site.ask(&["start", "tree"]).status.code(), Some(0));
}

#[test]
fn the_start_secret_is_in_no_answer_and_no_log() {
    let port = free_port();
    let site = daemon_dir(port, &[ours("a", "")]);
    configure_ours(&site, "a", 0, "log: { level: debug }");
    let command = site.command(&["run", "--config", "daemon.yaml", "--set", "daemon.log.level=debug"]);
    let mut daemon = Agent::spawn(command);
    let pid = running(&site, &["a"])[0];
    site.wait_for("a", "is heard", |agent| agent["heartbeats"].as_u64() > Some(1));
    let secret = start_secret(pid);
    let mut texts = vec![site.agent("a").to_string()];
    for args in [&["why", "a"][..], &["logs", "a"], &["status"]] {
        texts.push(String::from_utf8_lossy(&site.ask(args).stdout).into_owned());
    }
    for path in ["/agents", "/metrics", "/health", "/sd"] {
        texts.push(crate::support::http::get(local(port), path).body);
    }
    daemon.signal(Signal::INT);
    daemon.wait();
    texts.extend(daemon.rest_of_the_log().iter().map(ToString::to_string));
    let nonce = secret.split('.').next().unwrap();
    assert!(!texts.iter().any(|text| text.contains(nonce)));
}

#[requires("pid-namespace")]
#[test]
fn as_pid_1_the_daemon_reaps_orphans_and_stops_its_agents_when_it_is_told_to_end() {
    let site =
        script("trap 'echo x >stopped; exit' TERM\necho x >up\nwhile :; do (sleep 0.01 &); sleep 0.01; done", "");
    let mut command = Command::new("unshare");
    command.args([
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        programs::daemon(),
        "run",
        "--config",
        "daemon.yaml",
    ]);
    command.current_dir(site.path()).env_clear().process_group(0);
    let mut unshare = Agent::spawn(command);
    running(&site, &["tree"]);
    written(&site, "up");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", unshare.pid())).unwrap();
    let daemon: u32 = children.split_ascii_whitespace().next().unwrap().parse().unwrap();
    wait_until("orphans are reaped", || {
        let orphans = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).unwrap_or_default();
        // Hundreds of orphans have ended by the time that the log shows this many.
        orphans.split_ascii_whitespace().count() < 30
    });
    signal(daemon, Signal::TERM);
    unshare.wait();
    written(&site, "stopped");
}
