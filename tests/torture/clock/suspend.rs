//! SIGSTOP for longer than every timeout, then SIGCONT: agent, daemon, and both.

use std::fs;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::Value;

use super::{becomes_true, has_negative_number, run_reader};
use crate::Effort;
use crate::report::Findings;
use crate::resources::local;
use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::{AgentEntry, DaemonDir, signal};
use crate::support::http::{Wire, get};
use crate::support::peer::{Peer, hold_port};
use crate::support::programs;

/// The heartbeat interval in milliseconds.
const INTERVAL: u128 = 200;

/// Timeouts for peers of the HTTP server.
const LIMITS: &str = "head_timeout: 2s, body_timeout: 2s, write_timeout: 2s, idle_timeout: 2s";

/// Each stop is longer than every timeout: 3 s for a heartbeat, 1 s for a status file, 2 s for a peer, and for the
/// daemon 5 s for an HTTP check and 6 s without a heartbeat. In the full form it is also longer than the 8 s for a
/// drain.
pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let length = Duration::from_secs(effort.pick(8, 12));
    agent(length, effort.pick(1, 2), findings);
    daemon(length, findings);
}

fn agent(length: Duration, times: u64, findings: &mut Findings) {
    let peer = Peer::http();
    // The heartbeat in flight may count as failed: its answer is there, but its timeout has also passed. One failure
    // is no fault.
    let heartbeat =
        format!("heartbeat: {{ url: \"{}\", interval: {INTERVAL}ms, timeout: 3s, failure_threshold: 2 }}", peer.url());
    // In memory where possible, because a slow disk would also cause a fault.
    let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let status = memory.path().join("tested.ron");
    let dir = AgentDir::new(&format!(
        "http: {{ port: 0, limits: {{ {LIMITS} }} }}\n{heartbeat}\nstate: {{ file: '{}', refresh: 200ms }}\n",
        status.display()
    ));
    let mut agent = dir.start();
    let port = agent.port();
    for _ in 0..times {
        peer.wait_until(|all| !all.is_empty());
        agent.signal(Signal::STOP);
        let mut pending = Wire::to(local(port));
        pending.send("GET /health HTTP/1.1\r\nhost: agent\r\n\r\n");
        thread::sleep(length);
        let stopped = run_reader("check", &status, &[]);
        let (received, sequence) =
            (peer.received().len(), read_status(&status).map(|file| file.sequence).unwrap_or_default());
        // The status file is older than this limit, so the agent must not count as healthy.
        let check = std::process::Command::new(programs::agent())
            .args(["check", "--max-age", "1s", "--state-file"])
            .arg(&status)
            .output()
            .expect("the agent's binary");
        if check.status.code() != Some(2) || has_negative_number(&stopped.1) {
            findings.fail(format!("check of a stopped agent prints {}", String::from_utf8_lossy(&check.stdout)));
        }
        let started = Instant::now();
        agent.signal(Signal::CONT);
        // A request that was sent meanwhile must be answered.
        let answer = pending.reply_if_any();
        if answer.as_ref().is_none_or(|answer| answer.status != 200) {
            findings.fail(format!("a request that was sent to the stopped agent is answered with {answer:?}"));
        }
        if !becomes_true(|| read_status(&status).is_ok_and(|file| file.sequence > sequence)) {
            findings.fail("the status file is not refreshed after SIGCONT");
        }
        let refreshed = started.elapsed();
        peer.wait_until(|all| all.len() >= received + 5);
        let count = (peer.received().len() - received) as u128;
        let took = started.elapsed();
        // One in flight, one overdue, and one for each transition.
        let limit = took.as_millis() * 10 / (INTERVAL * 9) + 4;
        if count > limit {
            findings
                .fail(format!("{count} heartbeats in {took:?} after a stop of {length:?}, at most {limit} expected"));
        }
        findings.note(format!(
            "agent stopped for {length:?}: status file refreshed after {refreshed:?}, {count} heartbeats in {took:?}"
        ));
    }
    findings
        .tried(times, format!("agent stopped (SIGSTOP) for {} s, all its timeouts at 3 s or less", length.as_secs()));
    if agent.stop() != Some(0) {
        findings.fail("an agent does not exit cleanly after SIGSTOP and SIGCONT");
    }
    let is_fault = |line: &&Value| {
        line["to"].is_string() && !matches!(line["to"].as_str(), Some("Running" | "Stopping" | "Stopped"))
    };
    if let Some(line) = agent.rest_of_the_log().iter().find(is_fault) {
        findings.fail(format!("SIGSTOP made the agent report a fault: {}", line["cause"]));
    }
}

/// A daemon that runs every check on two agents.
struct Supervised {
    dir: DaemonDir,
    /// Reserves the agents' ports, which stand in the daemon's configuration.
    _ports: Vec<OwnedFd>,
}

const IDS: [&str; 2] = ["agent-001", "agent-002"];

impl Supervised {
    fn new() -> Self {
        let (ports, addresses): (Vec<_>, Vec<_>) = IDS.iter().map(|_| hold_port()).unzip();
        let entries = IDS.iter().zip(&addresses).map(|(id, address)| {
            let file = format!("state_file: {}, state_max_age: 6s", DaemonDir::status_file(id));
            let http = format!("http_endpoint: 'http://{address}/livez'");
            AgentEntry::new(id).judged_by(&format!("heartbeat_timeout: 6s, {file}, {http}, start_grace: 1s"))
        });
        let dir = DaemonDir::new(&entries.collect::<Vec<_>>());
        for (id, address) in IDS.iter().zip(&addresses) {
            dir.configure_agent(id, "state: { refresh: 2s }\n");
            let file = dir.path().join(format!("{id}.yaml"));
            let text = fs::read_to_string(&file).expect("a configuration");
            let http = format!("http: {{ port: {}, limits: {{ {LIMITS} }} }}", address.port());
            fs::write(file, text.replace("http: { port: 0 }", &http)).expect("a configuration");
        }
        // A restart hold lasts one interval. Within it, every stopped agent has to send a heartbeat.
        let file = dir.path().join("daemon.yaml");
        let text = fs::read_to_string(&file).expect("a configuration").replace("interval: 200ms", "interval: 5s");
        fs::write(file, text.replace("http: { port: 0 }", &format!("http: {{ port: 0, limits: {{ {LIMITS} }} }}")))
            .expect("a configuration");
        Self { dir, _ports: ports }
    }
}

/// Stops the daemon alone, then daemon and agents together. Agents that stop alone are restarted, which is correct.
fn daemon(length: Duration, findings: &mut Findings) {
    let supervised = Supervised::new();
    let dir = &supervised.dir;
    let mut daemon = dir.start();
    let port = daemon.port();
    let pids: Vec<_> = IDS.iter().map(|id| dir.wait_for_state(id, "running")).collect();
    IDS.iter().for_each(|id| drop(dir.wait_for(id, "passes the HTTP check", passes_http_check)));
    for both in [false, true] {
        let agents = || pids.iter().flatten().copied().filter(|_| both);
        agents().for_each(|pid| signal(pid, Signal::STOP));
        daemon.signal(Signal::STOP);
        thread::sleep(length);
        agents().for_each(|pid| signal(pid, Signal::CONT));
        daemon.signal(Signal::CONT);
        wait_for_hold(&mut daemon, findings);
        let heartbeats = |id: &str| dir.agent(id)["heartbeats"].as_u64().unwrap_or_default();
        let before = IDS.map(heartbeats);
        for ((id, pid), before) in IDS.iter().zip(&pids).zip(before) {
            // After 50 heartbeats, every check has run at least once.
            if !becomes_true(|| heartbeats(id) >= before + 50) {
                findings.fail(format!("no heartbeats of {id} after SIGCONT of the daemon"));
            }
            dir.wait_for(id, "passes the HTTP check", passes_http_check);
            let agent = dir.wait_for(id, "is running", |agent| agent["state"] == "running");
            if agent["restarts"] != 0 || dir.pid(id) != *pid {
                findings.fail(format!("SIGSTOP of the daemon (and its agents: {both}) led to a restart: {agent}"));
            }
        }
        let status = dir.ask(&["status"]);
        if has_negative_number(&String::from_utf8_lossy(&status.stdout)) {
            findings.fail(format!("after SIGCONT, status prints {}", String::from_utf8_lossy(&status.stdout)));
        }
        let stopped = if both { "daemon and two agents" } else { "daemon" };
        findings
            .tried(1, format!("{stopped} stopped (SIGSTOP) for {} s, all timeouts at 6 s or less", length.as_secs()));
    }
    if get(local(port), "/health").status != 200 {
        findings.fail("the daemon is not healthy after SIGCONT");
    }
    daemon.signal(Signal::INT);
    if daemon.wait().code() != Some(0) {
        findings.fail("a daemon does not exit cleanly after SIGSTOP and SIGCONT");
    }
}

/// Whether the daemon's HTTP check of an agent passes.
fn passes_http_check(agent: &Value) -> bool {
    let passes = |signal: &Value| signal["check"] == "http" && signal["verdict"] == "ok";
    agent["signals"].as_array().is_some_and(|signals| signals.iter().any(passes))
}

fn wait_for_hold(daemon: &mut Agent, findings: &mut Findings) {
    let line = daemon.wait_for("a restart hold", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("restarts are held"))
    });
    findings.note(format!("the daemon after SIGCONT: {}", line["reason"].as_str().unwrap_or_default()));
}
