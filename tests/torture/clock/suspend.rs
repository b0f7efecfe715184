//! Stopped for longer than every timeout, and let go again: agent, daemon, and both.

use std::fs;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::Value;

use super::{comes, is_negative, judge};
use crate::Effort;
use crate::report::Findings;
use crate::resources::local;
use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::{AgentEntry, DaemonDir, signal};
use crate::support::http::{Wire, get};
use crate::support::peer::{Peer, hold_port};
use crate::support::programs;

/// From one heartbeat to the next, in milliseconds.
const INTERVAL: u128 = 200;

/// What a peer may take, in all that it may take time for.
const LIMITS: &str = "head_timeout: 2s, body_timeout: 2s, write_timeout: 2s, idle_timeout: 2s";

/// Each stop is longer than all that has a limit: a heartbeat's 3 s, a status file's one and its writing, a peer's 2 s, and for
/// the daemon an HTTP check's 5 s and 6 s of silence. In the full form it is longer than the 8 s for a drain, too.
pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let length = Duration::from_secs(effort.pick(8, 12));
    agent(length, effort.pick(1, 2), findings);
    daemon(length, findings);
}

fn agent(length: Duration, times: u64, findings: &mut Findings) {
    let peer = Peer::http();
    // The one that was under way may count as failed: its answer has come, but its time is up as well. One is no fault.
    let heartbeat =
        format!("heartbeat: {{ url: \"{}\", interval: {INTERVAL}ms, timeout: 3s, failure_threshold: 2 }}", peer.url());
    // In memory, where that can be had: that a disk is slow is not what is looked for here.
    let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let status = memory.path().join("tested.ron");
    let home = AgentDir::new(&format!(
        "http: {{ port: 0, limits: {{ {LIMITS} }} }}\n{heartbeat}\nstate: {{ file: '{}', refresh: 200ms }}\n",
        status.display()
    ));
    let mut agent = home.start();
    let port = agent.port();
    for _ in 0..times {
        peer.wait_until(|all| !all.is_empty());
        agent.signal(Signal::STOP);
        let mut meanwhile = Wire::to(local(port));
        meanwhile.send("GET /health HTTP/1.1\r\nhost: agent\r\n\r\n");
        thread::sleep(length);
        let stuck = judge("check", &status, &[]);
        let (had, sequence) =
            (peer.received().len(), read_status(&status).map(|file| file.sequence).unwrap_or_default());
        // With a limit that it has passed, the checker must not call it well.
        let late = std::process::Command::new(programs::agent())
            .args(["check", "--max-age", "1s", "--state-file"])
            .arg(&status)
            .output()
            .expect("the agent's binary");
        if late.status.code() != Some(2) || is_negative(&stuck.1) {
            findings.lost(format!("of a stopped agent, check says {}", String::from_utf8_lossy(&late.stdout)));
        }
        let begun = Instant::now();
        agent.signal(Signal::CONT);
        // Who asked meanwhile is answered; whether well, the status file shows by itself.
        let answer = meanwhile.reply_if_any();
        if answer.as_ref().is_none_or(|answer| answer.status != 200) {
            findings.lost(format!("who asked while the agent was stopped is answered {answer:?}"));
        }
        if !comes(|| read_status(&status).is_ok_and(|file| file.sequence > sequence)) {
            findings.lost("the status file is not refreshed after a stop");
        }
        let refreshed = begun.elapsed();
        peer.wait_until(|all| all.len() >= had + 5);
        let came = (peer.received().len() - had) as u128;
        let took = begun.elapsed();
        // One that was on its way, one that was overdue, and one for each move.
        let most = took.as_millis() * 10 / (INTERVAL * 9) + 4;
        if came > most {
            findings.lost(format!("{came} heartbeats in {took:?} after a stop of {length:?}, where {most} are due"));
        }
        findings.saw(format!("agent stopped for {length:?}: status file anew after {refreshed:?}, {came} heartbeats in the {took:?} that follow"));
    }
    findings.tried(
        times,
        format!("agent stopped (SIGSTOP) for {} s, with all its limits at 3 s or less", length.as_secs()),
    );
    if agent.stop() != Some(0) {
        findings.lost("an agent that was stopped and let go does not end in order");
    }
    let moved = |line: &&Value| {
        line["to"].is_string() && !matches!(line["to"].as_str(), Some("Running" | "Stopping" | "Stopped"))
    };
    if let Some(line) = agent.rest_of_the_log().iter().find(moved) {
        findings.lost(format!("to have been stopped is held against the daemon or the disk: {}", line["cause"]));
    }
}

/// A daemon that looks at two agents in every way.
struct Pair {
    site: DaemonDir,
    /// Their ports, which the daemon has to know before they run.
    _ports: Vec<OwnedFd>,
}

const IDS: [&str; 2] = ["agent-001", "agent-002"];

impl Pair {
    fn new() -> Self {
        let (ports, addresses): (Vec<_>, Vec<_>) = IDS.iter().map(|_| hold_port()).unzip();
        let members = IDS.iter().zip(&addresses).map(|(id, address)| {
            let file = format!("state_file: {}, state_max_age: 6s", DaemonDir::status_file(id));
            let http = format!("http_endpoint: 'http://{address}/livez'");
            AgentEntry::new(id).judged_by(&format!("heartbeat_timeout: 6s, {file}, {http}, start_grace: 1s"))
        });
        let site = DaemonDir::new(&members.collect::<Vec<_>>());
        for (id, address) in IDS.iter().zip(&addresses) {
            site.configure_agent(id, "state: { refresh: 2s }\n");
            let file = site.path().join(format!("{id}.yaml"));
            let text = fs::read_to_string(&file).expect("a configuration");
            let http = format!("http: {{ port: {}, limits: {{ {LIMITS} }} }}", address.port());
            fs::write(file, text.replace("http: { port: 0 }", &http)).expect("a configuration");
        }
        // A hold lasts one interval, and within it everybody who was stopped has to be heard of again.
        let file = site.path().join("daemon.yaml");
        let text = fs::read_to_string(&file).expect("a configuration").replace("interval: 200ms", "interval: 5s");
        fs::write(file, text.replace("http: { port: 0 }", &format!("http: {{ port: 0, limits: {{ {LIMITS} }} }}")))
            .expect("a configuration");
        Self { site, _ports: ports }
    }
}

/// The daemon alone, then daemon and agents together. That the agents alone do get restarted is a verdict, and a right one.
fn daemon(length: Duration, findings: &mut Findings) {
    let pair = Pair::new();
    let site = &pair.site;
    let mut daemon = site.start();
    let port = daemon.port();
    let pids: Vec<_> = IDS.iter().map(|id| site.wait_for_state(id, "running")).collect();
    IDS.iter().for_each(|id| drop(site.wait_for(id, "answers over HTTP", answers)));
    for both in [false, true] {
        let agents = || pids.iter().flatten().copied().filter(|_| both);
        agents().for_each(|pid| signal(pid, Signal::STOP));
        daemon.signal(Signal::STOP);
        thread::sleep(length);
        agents().for_each(|pid| signal(pid, Signal::CONT));
        daemon.signal(Signal::CONT);
        held(&mut daemon, findings);
        let heard = |id: &str| site.agent(id)["heartbeats"].as_u64().unwrap_or_default();
        let then = IDS.map(heard);
        for ((id, pid), then) in IDS.iter().zip(&pids).zip(then) {
            // Fifty and more, so that each is looked at in between.
            if !comes(|| heard(id) >= then + 50) {
                findings.lost(format!("no heartbeats of {id} after a stop of the daemon"));
            }
            site.wait_for(id, "answers over HTTP", answers);
            let agent = site.wait_for(id, "is running", |agent| agent["state"] == "running");
            if agent["restarts"] != 0 || site.pid(id) != *pid {
                findings.lost(format!("a stop of the daemon (and its agents: {both}) led to a restart: {agent}"));
            }
        }
        let said = site.ask(&["status"]);
        if is_negative(&String::from_utf8_lossy(&said.stdout)) {
            findings.lost(format!("after a stop, status says {}", String::from_utf8_lossy(&said.stdout)));
        }
        let who = if both { "daemon and two agents" } else { "daemon" };
        findings
            .tried(1, format!("{who} stopped (SIGSTOP) for {} s, with all limits at 6 s or less", length.as_secs()));
    }
    if get(local(port), "/health").status != 200 {
        findings.lost("the daemon is not well after it was stopped");
    }
    daemon.signal(Signal::INT);
    if daemon.wait().code() != Some(0) {
        findings.lost("a daemon that was stopped and let go does not end in order");
    }
}

/// Whether the HTTP check of an agent is well.
fn answers(agent: &Value) -> bool {
    let well = |signal: &Value| signal["check"] == "http" && signal["verdict"] == "ok";
    agent["signals"].as_array().is_some_and(|signals| signals.iter().any(well))
}

fn held(daemon: &mut Agent, findings: &mut Findings) {
    let line = daemon.wait_for("that restarts are held", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("restarts are held"))
    });
    findings.saw(format!("the daemon after SIGCONT: {}", line["reason"].as_str().unwrap_or_default()));
}
