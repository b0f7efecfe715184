//! Descriptor exhaustion: too few at the start, and none left while running.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use ops_runtime::observe::{Stat, read_status};
use rustix::process::{Pid, Resource, getrlimit, prlimit};
use statemachine::lifecycle::State;

use super::{becomes_true, check_memory, connection, eventually, has_fault, health, is_healthy, local, metrics, usage};
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::{call, metric};
use crate::support::agent::AgentDir;
use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::http::Wire;
use crate::support::programs;

/// The CPU time allowed in one second without descriptors, in clock ticks of 10 ms. A busy loop takes 100.
const MAX_TICKS: u64 = 30;

/// The kernel needs this many descriptors to load any program.
const LOADER: u64 = 4;

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let limits: Vec<u64> = effort.pick(vec![4, 8, 10, 12, 16, 24], (LOADER..=26).collect());
    let agent = lowest_limit(&limits, findings, "agent", agent_at);
    let daemon = lowest_limit(&limits, findings, "daemon", daemon_at);
    findings.note(format!("lowest limit of open files with which the program works: agent {agent}, daemon {daemon}"));
    agent_runs_out(findings);
    daemon_runs_out(findings);
}

/// The result of a start.
enum Start {
    Works,
    /// Exit code and standard error.
    Ended(Option<i32>, String),
    Hangs,
}

/// The lowest limit with which the program works. Below it, the program must exit with code 1 and an error message.
fn lowest_limit(limits: &[u64], findings: &mut Findings, program: &str, start: impl Fn(u64) -> Start) -> String {
    let mut lowest = None;
    for &limit in limits {
        match start(limit) {
            Start::Works => {
                lowest.get_or_insert(limit);
            }
            Start::Ended(Some(1), output) if lowest.is_none() && !output.trim().is_empty() => {}
            Start::Ended(code, output) => {
                findings.fail(format!("{program} with {limit} descriptors exits with {code:?} and prints {output:?}"));
            }
            Start::Hangs => findings.fail(format!("{program} with {limit} descriptors neither works nor exits")),
        }
    }
    findings.tried(limits.len() as u64, format!("starts of the {program} with few descriptors"));
    lowest.map_or("none of those tried".to_owned(), |lowest| lowest.to_string())
}

fn limited(limit: u64, program: &str, config: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -n {limit}; exec {program} run --config {config}")]);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn agent_at(limit: u64) -> Start {
    let dir = AgentDir::new("state: { refresh: 100ms }\n");
    let errors = dir.path().join("errors");
    let mut command = limited(limit, programs::agent(), "agent.yaml");
    command.current_dir(dir.path()).stderr(fs::File::create(&errors).expect("a file"));
    let mut child = command.spawn().expect("a shell");
    let status = dir.status_file();
    // Degraded counts as well: the agent works and reports the fault.
    let works = || read_status(&status).is_ok_and(|file| matches!(file.state, State::Running | State::Degraded));
    wait_for_start(&mut child, works, || fs::read_to_string(&errors).unwrap_or_default())
}

fn daemon_at(limit: u64) -> Start {
    let dir = DaemonDir::new(&[]);
    let (errors, log) = (dir.path().join("errors"), dir.path().join("log"));
    let mut command = limited(limit, programs::daemon(), "daemon.yaml");
    let create = |path| fs::File::create(path).expect("a file");
    command.current_dir(dir.path()).stderr(create(&errors)).stdout(create(&log));
    let mut child = command.spawn().expect("a shell");
    // The daemon may have no descriptor left to accept a connection. It then reports the fault.
    let reports = || fs::read_to_string(&log).is_ok_and(|log| log.contains("\"fault\":\"socket\""));
    let works = || call(&dir.socket(), "health", &serde_json::json!({})).is_some() || reports();
    wait_for_start(&mut child, works, || fs::read_to_string(&errors).unwrap_or_default())
}

fn wait_for_start(child: &mut Child, works: impl Fn() -> bool, output: impl Fn() -> String) -> Start {
    let start = eventually(|| {
        let ended = child.try_wait().expect("a child");
        ended.map(|status| Start::Ended(status.code(), output())).or_else(|| works().then_some(Start::Works))
    });
    let _ = child.kill();
    let _ = child.wait();
    start.unwrap_or(Start::Hangs)
}

/// Lowers the soft limit to the number of open descriptors plus `more`.
fn limit_descriptors(pid: u32, more: u64) {
    let current = Some(usage(pid).descriptors + more);
    let limit = rustix::process::Rlimit { current, ..getrlimit(Resource::Nofile) };
    prlimit(Pid::from_raw(pid.cast_signed()), Resource::Nofile, limit).expect("a child process");
}

/// The CPU time that a process uses in one second, in clock ticks.
fn cpu_ticks_per_second(pid: u32) -> u64 {
    let ticks = || Stat::of(pid).map_or(0, |stat| stat.cpu_ticks);
    let before = ticks();
    thread::sleep(Duration::from_secs(1));
    ticks().saturating_sub(before)
}

fn agent_runs_out(findings: &mut Findings) {
    let dir = AgentDir::new("state: { refresh: 200ms }\n");
    let mut agent = dir.start();
    let (pid, port) = (agent.pid(), agent.port());
    // A connection from before the shortage stays usable.
    let mut early = Wire::to(local(port));
    let ask = |wire: &mut Wire| {
        wire.send("GET /health HTTP/1.1\r\nhost: agent\r\n\r\n");
        wire.reply()
    };
    ask(&mut early);
    let before = usage(pid);
    for more in [0, 1, 3] {
        limit_descriptors(pid, more);
        let connections: Vec<_> = (0..100).map_while(|number| connection(port, number).ok()).collect();
        let reported = eventually(|| {
            let health = ask(&mut early).json();
            let faults =
                health["faults"].as_array()?.iter().filter_map(|fault| Some(fault["name"].as_str()?.to_owned()));
            let names: Vec<_> = faults.filter(|name| name == "http" || name == "status_file").collect();
            (!names.is_empty()).then_some(names)
        });
        let Some(names) = reported else {
            return findings.fail("without descriptors, the agent reports neither `http` nor `status_file`");
        };
        let ticks = cpu_ticks_per_second(pid);
        if ticks > MAX_TICKS {
            findings.fail(format!("an agent without descriptors uses {ticks} ticks of CPU time in a second"));
        }
        if read_status(&dir.status_file()).is_err() {
            findings.fail("without descriptors, the status file cannot be read");
        }
        findings.note(format!(
            "agent with {more} descriptors left and 100 peers: faults {names:?}, {ticks} ticks of CPU time in a second"
        ));
        // The limit stays, and the connections are closed.
        drop(connections);
        if more > 0 || becomes_true(|| usage(pid).descriptors <= before.descriptors) {
            limit_descriptors(pid, 8);
        }
        if !becomes_true(|| is_healthy(port)) {
            findings.fail("the agent is not Running again once descriptors are free");
        }
    }
    let sequence = || read_status(&dir.status_file()).map(|file| file.sequence).unwrap_or_default();
    let before_refresh = sequence();
    if !becomes_true(|| sequence() > before_refresh) || has_fault(port, "status_file") {
        findings.fail("the status file is not refreshed once descriptors are free");
    }
    drop(early);
    if !becomes_true(|| usage(pid).descriptors <= before.descriptors) {
        findings.fail("descriptors stay open after the shortage");
    }
    check_memory(pid, before.resident, "agent after it ran out of descriptors", findings);
    findings.tried(3, "running agent without free descriptors");
    if agent.stop() != Some(0) {
        findings.fail("after the shortage, the agent does not exit cleanly");
    }
}

fn daemon_runs_out(findings: &mut Findings) {
    let dir = DaemonDir::new(&[AgentEntry::new("agent-001")]);
    let mut daemon = dir.start();
    let pid = daemon.pid();
    let port = daemon.port();
    let agent = dir.wait_for_state("agent-001", "running");
    let mut early = Wire::to(local(port));
    let ask = |wire: &mut Wire| {
        wire.send("GET /health HTTP/1.1\r\nhost: daemon\r\n\r\n");
        wire.reply()
    };
    ask(&mut early);
    let before = usage(pid).resident;
    for more in [0, 2] {
        limit_descriptors(pid, more);
        let connections: Vec<_> = (0..100).map_while(|number| connection(port, number).ok()).collect();
        let sockets: Vec<_> =
            (0..20).map_while(|_| std::os::unix::net::UnixStream::connect(dir.socket()).ok()).collect();
        daemon.wait_for("that the daemon raises the fault http", |line| {
            line["fault"] == "http" && line["level"] == "error"
        });
        let reported = eventually(|| {
            let answer = ask(&mut early);
            let faults = answer.json()["faults"].clone();
            (answer.status == 503 && faults.as_array().is_some_and(|faults| !faults.is_empty())).then_some(faults)
        });
        let Some(faults) = reported else {
            return findings.fail("without descriptors, the daemon reports no fault");
        };
        let ticks = cpu_ticks_per_second(pid);
        if ticks > MAX_TICKS {
            findings.fail(format!("a daemon without descriptors uses {ticks} ticks of CPU time in a second"));
        }
        findings.note(format!(
            "daemon with {more} descriptors left and 120 peers: {faults}, {ticks} ticks of CPU time in a second"
        ));
        drop((connections, sockets));
        limit_descriptors(pid, 16);
        if !becomes_true(|| health(port).is_some_and(|(status, _)| status == 200)) {
            findings.fail("the daemon is not healthy again once descriptors are free");
        }
    }
    check_memory(pid, before, "daemon after it ran out of descriptors", findings);
    findings.tried(2, "running daemon without free descriptors");
    let heartbeats = || dir.agent("agent-001")["heartbeats"].as_u64().unwrap_or_default();
    let heartbeats_before = heartbeats();
    if !becomes_true(|| heartbeats() > heartbeats_before) {
        findings.fail("no heartbeat arrives after the daemon ran out of descriptors");
    }
    let entry = dir.agent("agent-001");
    if dir.pid("agent-001") != agent || entry["restarts"] != 0 {
        findings.fail(format!("the daemon restarted an agent because it had no descriptors itself: {entry}"));
    }
    if metric(&metrics(port), "ops_daemon_agent_restarts_total", &[]) != 0 {
        findings.fail("the metrics of the daemon count a restart");
    }
    daemon.signal(rustix::process::Signal::INT);
    if daemon.wait().code() != Some(0) {
        findings.fail("the daemon does not exit cleanly after it ran out of descriptors");
    }
}
