//! Stopped for longer than every timeout, and let go again: agent, daemon, and both.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use ops_agent::observe::read_status;
use rustix::process::Signal;

use super::{comes, is_negative, judge};
use crate::Effort;
use crate::report::Findings;
use crate::resources::local;
use crate::soak::look::ask;
use crate::support::agent::{Agent, Home};
use crate::support::daemon::{Member, Site, signal};
use crate::support::peer::Peer;

/// From one heartbeat to the next, in milliseconds.
const INTERVAL: u128 = 200;

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let length = Duration::from_secs(effort.pick(3, 6));
    agent(length, effort.pick(1, 2), findings);
    daemon(length, findings);
}

fn agent(length: Duration, times: u64, findings: &mut Findings) {
    let peer = Peer::http();
    let home = Home::new(&format!(
        "heartbeat: {{ url: \"{}\", interval: {INTERVAL}ms, timeout: 1s, failure_threshold: 1 }}\nstate: {{ refresh: 200ms }}\n",
        peer.url()
    ));
    let mut agent = home.start();
    let port = agent.port();
    let status = home.status_file();
    for _ in 0..times {
        peer.wait_until(|all| !all.is_empty());
        agent.signal(Signal::STOP);
        thread::sleep(length);
        let stuck = judge("check", &status, &[]);
        let (had, sequence) =
            (peer.received().len(), read_status(&status).map(|file| file.sequence).unwrap_or_default());
        // With a limit that it has passed, the checker must not call it well.
        let late = std::process::Command::new(crate::support::agent::BINARY)
            .args(["check", "--max-age", "1s", "--state-file"])
            .arg(&status)
            .output()
            .expect("the agent's binary");
        if late.status.code() != Some(2) || is_negative(&stuck.1) {
            findings.lost(format!("of a stopped agent, check says {}", String::from_utf8_lossy(&late.stdout)));
        }
        let begun = Instant::now();
        agent.signal(Signal::CONT);
        if !comes(|| read_status(&status).is_ok_and(|file| file.sequence > sequence)) {
            findings.lost("the status file is not refreshed after a stop");
        }
        let refreshed = begun.elapsed();
        peer.wait_until(|all| all.len() >= had + 5);
        let (took, came) = (begun.elapsed(), (peer.received().len() - had) as u128);
        // One that was on its way, one that was overdue, and one for each move.
        let most = took.as_millis() * 10 / (INTERVAL * 9) + 4;
        if came > most {
            findings.lost(format!("{came} heartbeats in {took:?} after a stop of {length:?}, where {most} are due"));
        }
        let well = comes(|| ask(local(port), "GET", "/health").is_some_and(|(status, _)| status == 200));
        if !well {
            findings.lost("the agent is not Running after a stop");
        }
        findings.saw(format!("agent stopped for {length:?}: status file anew after {refreshed:?}, {came} heartbeats in the {took:?} that follow"));
    }
    findings
        .tried(times, format!("agent stopped (SIGSTOP) for {} s, with a heartbeat timeout of 1 s", length.as_secs()));
    if agent.stop() != Some(0) {
        findings.lost("an agent that was stopped and let go does not end in order");
    }
}

/// The daemon alone, then daemon and agents together. That the agents alone do get restarted is a verdict, and a right one.
fn daemon(length: Duration, findings: &mut Findings) {
    let ids = ["agent-001", "agent-002"];
    let member = |id: &&str| {
        let checks =
            format!("heartbeat_timeout: 2s, state_file: {}, state_max_age: 2s, start_grace: 1s", Site::status_file(id));
        Member::new(id).judged_by(&checks)
    };
    let site = Site::new(&ids.iter().map(member).collect::<Vec<_>>());
    ids.iter().for_each(|id| site.configure_agent(id, "state: { refresh: 200ms }\n"));
    // A hold lasts one interval, and within it everybody who was stopped has to be heard of again.
    let file = site.path().join("daemon.yaml");
    let text = fs::read_to_string(&file).expect("a configuration").replace("interval: 200ms", "interval: 2s");
    fs::write(file, text).expect("a configuration");
    let mut daemon = site.start();
    let port = daemon.port();
    let pids: Vec<_> = ids.iter().map(|id| site.wait_for_state(id, "running")).collect();
    for both in [false, true] {
        let agents = || pids.iter().flatten().copied().filter(|_| both);
        agents().for_each(|pid| signal(pid, Signal::STOP));
        daemon.signal(Signal::STOP);
        thread::sleep(length);
        agents().for_each(|pid| signal(pid, Signal::CONT));
        daemon.signal(Signal::CONT);
        held(&mut daemon, findings);
        for (id, pid) in ids.iter().zip(&pids) {
            let heard = |site: &Site| site.agent(id)["heartbeats"].as_u64().unwrap_or_default();
            let then = heard(&site);
            if !comes(|| heard(&site) >= then + 10) {
                findings.lost(format!("no heartbeats of {id} after a stop of the daemon"));
            }
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
        findings.tried(1, format!("{who} stopped (SIGSTOP) for {} s, with all limits at 2 s", length.as_secs()));
    }
    if ask(local(port), "GET", "/health").is_none_or(|(status, _)| status != 200) {
        findings.lost("the daemon is not well after it was stopped");
    }
    daemon.signal(Signal::INT);
    if daemon.wait().code() != Some(0) {
        findings.lost("a daemon that was stopped and let go does not end in order");
    }
}

fn held(daemon: &mut Agent, findings: &mut Findings) {
    let line = daemon.wait_for("that restarts are held", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("restarts are held"))
    });
    findings.saw(format!("the daemon after SIGCONT: {}", line["reason"].as_str().unwrap_or_default()));
}
