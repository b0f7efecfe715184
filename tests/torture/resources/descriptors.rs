//! No descriptors: too few to start with, and none left while running.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use ops_runtime::observe::{Stat, read_status};
use rustix::process::{Pid, Resource, getrlimit, prlimit};
use statemachine::lifecycle::State;

use super::{comes, connection, eventually, has_fault, health, is_as_before, is_well, local, metrics, vitals};
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::{call, metric};
use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::http::Wire;
use crate::support::programs;

/// How much CPU time one second without descriptors may cost, in clock ticks of 10 ms. Spinning costs 100.
const TICKS: u64 = 30;

/// The kernel needs as many to load a program, whatever the program is.
const LOADER: u64 = 4;

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let limits: Vec<u64> = effort.pick(vec![4, 8, 10, 12, 16, 24], (LOADER..=26).collect());
    let agent = least(&limits, findings, "agent", agent_at);
    let daemon = least(&limits, findings, "daemon", daemon_at);
    findings.saw(format!(
        "least limit of open files with which one comes to work: agent {agent}, daemon {daemon} (and its agents' own)"
    ));
    agent_without(findings);
    daemon_without(findings);
}

/// How a start went.
enum Start {
    Works,
    /// Exit code and what was said.
    Ended(Option<i32>, String),
    Hangs,
}

/// The least of the limits with which it works. Below that, it has to end in order and say why.
fn least(limits: &[u64], findings: &mut Findings, program: &str, start: impl Fn(u64) -> Start) -> String {
    let mut least = None;
    for &limit in limits {
        match start(limit) {
            Start::Works => {
                least.get_or_insert(limit);
            }
            Start::Ended(Some(1), said) if least.is_none() && !said.trim().is_empty() => {}
            Start::Ended(code, said) => {
                findings.lost(format!("{program} with {limit} descriptors ends with {code:?} and says {said:?}"));
            }
            Start::Hangs => findings.lost(format!("{program} with {limit} descriptors neither works nor ends")),
        }
    }
    findings.tried(limits.len() as u64, format!("start of the {program} with few descriptors"));
    least.map_or("none of those tried".to_owned(), |least| least.to_string())
}

fn limited(limit: u64, program: &str, config: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -n {limit}; exec {program} run --config {config}")]);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn agent_at(limit: u64) -> Start {
    let home = AgentDir::new("state: { refresh: 100ms }\n");
    let errors = home.path().join("errors");
    let mut command = limited(limit, programs::agent(), "agent.yaml");
    command.current_dir(home.path()).stderr(fs::File::create(&errors).expect("a file"));
    let mut child = command.spawn().expect("a shell");
    let status = home.status_file();
    // Degraded is an answer too: at work, and it says what is missing.
    let works = || read_status(&status).is_ok_and(|file| matches!(file.state, State::Running | State::Degraded));
    outcome(&mut child, works, || fs::read_to_string(&errors).unwrap_or_default())
}

fn daemon_at(limit: u64) -> Start {
    let site = DaemonDir::new(&[]);
    let (errors, log) = (site.path().join("errors"), site.path().join("log"));
    let mut command = limited(limit, programs::daemon(), "daemon.yaml");
    let create = |path| fs::File::create(path).expect("a file");
    command.current_dir(site.path()).stderr(create(&errors)).stdout(create(&log));
    let mut child = command.spawn().expect("a shell");
    // At work, and without a descriptor for whoever wants to ask it: then it names that.
    let names = || fs::read_to_string(&log).is_ok_and(|log| log.contains("\"fault\":\"socket\""));
    let works = || call(&site.socket(), "health", &serde_json::json!({})).is_some() || names();
    outcome(&mut child, works, || fs::read_to_string(&errors).unwrap_or_default())
}

fn outcome(child: &mut Child, works: impl Fn() -> bool, said: impl Fn() -> String) -> Start {
    let outcome = eventually(|| {
        let ended = child.try_wait().expect("a child");
        ended.map(|status| Start::Ended(status.code(), said())).or_else(|| works().then_some(Start::Works))
    });
    let _ = child.kill();
    let _ = child.wait();
    outcome.unwrap_or(Start::Hangs)
}

/// Lowers the soft limit to what is open by now and so many more.
fn leave(pid: u32, more: u64) {
    let current = Some(vitals(pid).descriptors + more);
    let limit = rustix::process::Rlimit { current, ..getrlimit(Resource::Nofile) };
    prlimit(Pid::from_raw(pid.cast_signed()), Resource::Nofile, limit).expect("one's own child");
}

/// CPU time in a second.
fn cost(pid: u32) -> u64 {
    let ticks = || Stat::of(pid).map_or(0, |stat| stat.cpu_ticks);
    let before = ticks();
    // The one thing that is measured here is a second.
    thread::sleep(Duration::from_secs(1));
    ticks().saturating_sub(before)
}

fn agent_without(findings: &mut Findings) {
    let home = AgentDir::new("state: { refresh: 200ms }\n");
    let mut agent = home.start();
    let (pid, port) = (agent.pid(), agent.port());
    // Somebody who was there before can still ask.
    let mut early = Wire::to(local(port));
    let ask = |wire: &mut Wire| {
        wire.send("GET /health HTTP/1.1\r\nhost: agent\r\n\r\n");
        wire.reply()
    };
    ask(&mut early);
    let before = vitals(pid);
    for more in [0, 1, 3] {
        leave(pid, more);
        let crowd: Vec<_> = (0..100).map_while(|number| connection(port, number).ok()).collect();
        let named = eventually(|| {
            let said = ask(&mut early).json();
            let faults = said["faults"].as_array()?.iter().filter_map(|fault| Some(fault["name"].as_str()?.to_owned()));
            let names: Vec<_> = faults.filter(|name| name == "http" || name == "status_file").collect();
            (!names.is_empty()).then_some(names)
        });
        let Some(names) = named else {
            return findings.lost("out of descriptors, the agent names neither `http` nor `status_file`");
        };
        let ticks = cost(pid);
        if ticks > TICKS {
            findings.lost(format!("an agent without descriptors uses {ticks} ticks of CPU time in a second"));
        }
        if read_status(&home.status_file()).is_err() {
            findings.lost("without descriptors, there is no whole status file");
        }
        findings.saw(format!(
            "agent with {more} descriptors left and 100 peers: faults {names:?}, {ticks} ticks of CPU in a second"
        ));
        // The limit stays; who used it up goes.
        drop(crowd);
        if more > 0 || comes(|| vitals(pid).descriptors <= before.descriptors) {
            leave(pid, 8);
        }
        if !comes(|| is_well(port)) {
            findings.lost("the agent is not Running again once descriptors are free");
        }
    }
    let sequence = || read_status(&home.status_file()).map(|file| file.sequence).unwrap_or_default();
    let then = sequence();
    if !comes(|| sequence() > then) || has_fault(port, "status_file") {
        findings.lost("the status file is not refreshed once descriptors are free");
    }
    drop(early);
    if !comes(|| vitals(pid).descriptors <= before.descriptors) {
        findings.lost("descriptors stay open after the shortage");
    }
    is_as_before(pid, before.resident, "agent that was out of descriptors", findings);
    findings.tried(3, "agent whose last descriptors are used up while it runs");
    stops(&mut agent, "agent", findings);
}

fn daemon_without(findings: &mut Findings) {
    let site = DaemonDir::new(&[AgentEntry::new("agent-001")]);
    let mut daemon = site.start();
    let pid = daemon.pid();
    let port = daemon.port();
    let agent = site.wait_for_state("agent-001", "running");
    let mut early = Wire::to(local(port));
    let ask = |wire: &mut Wire| {
        wire.send("GET /health HTTP/1.1\r\nhost: daemon\r\n\r\n");
        wire.reply()
    };
    ask(&mut early);
    let before = vitals(pid).resident;
    for more in [0, 2] {
        leave(pid, more);
        let crowd: Vec<_> = (0..100).map_while(|number| connection(port, number).ok()).collect();
        let sockets: Vec<_> =
            (0..20).map_while(|_| std::os::unix::net::UnixStream::connect(site.socket()).ok()).collect();
        daemon.wait_for("that the fault http is raised", |line| line["fault"] == "http" && line["level"] == "error");
        let named = eventually(|| {
            let answer = ask(&mut early);
            let faults = answer.json()["faults"].clone();
            (answer.status == 503 && faults.as_array().is_some_and(|faults| !faults.is_empty())).then_some(faults)
        });
        let Some(faults) = named else {
            return findings.lost("out of descriptors, the daemon names no fault");
        };
        let ticks = cost(pid);
        if ticks > TICKS {
            findings.lost(format!("a daemon without descriptors uses {ticks} ticks of CPU time in a second"));
        }
        findings.saw(format!(
            "daemon with {more} descriptors left and 120 peers: {faults}, {ticks} ticks of CPU in a second"
        ));
        drop((crowd, sockets));
        leave(pid, 16);
        if !comes(|| health(port).is_some_and(|(status, _)| status == 200)) {
            findings.lost("the daemon is not well again once descriptors are free");
        }
    }
    is_as_before(pid, before, "daemon that was out of descriptors", findings);
    findings.tried(2, "daemon whose last descriptors are used up while it runs");
    let heard = || site.agent("agent-001")["heartbeats"].as_u64().unwrap_or_default();
    let then = heard();
    if !comes(|| heard() > then) {
        findings.lost("no heartbeat arrives after the daemon was out of descriptors");
    }
    let known = site.agent("agent-001");
    if site.pid("agent-001") != agent || known["restarts"] != 0 {
        findings.lost(format!("for want of its own descriptors, the daemon has restarted an agent: {known}"));
    }
    if metric(&metrics(port), "ops_daemon_agent_restarts_total", &[]) != 0 {
        findings.lost("a restart is counted");
    }
    daemon.signal(rustix::process::Signal::INT);
    if daemon.wait().code() != Some(0) {
        findings.lost("a daemon that was out of descriptors does not stop in order");
    }
}

fn stops(agent: &mut Agent, who: &str, findings: &mut Findings) {
    if agent.stop() != Some(0) {
        findings.lost(format!("after the shortage, the {who} does not stop in order"));
    }
}
