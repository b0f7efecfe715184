//! What agents inherit from a daemon whose own parent left it descriptors, signal settings, limits, a terminal and variables.
//!
//! Each agent is compared with the promise of the launcher, by what the kernel says of its process. Agents start many at once,
//! again after a reload, and again on request.

mod hostile;
mod promise;

use std::fs;
use std::ops::Range;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use self::hostile::{HOSTILE, Hostile};
use self::promise::Promise;
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::call;
use crate::support::agent::{Agent, DEADLINE};
use crate::support::daemon::{DaemonDir, signal};
use crate::support::find_program;

/// The agents of each daemon: those that a reload leaves alone, changes, removes and adds.
const LEFT_ALONE: usize = 12;
const CHANGED: usize = 6;
const REMOVED: usize = 4;
const ADDED: usize = 6;

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let rounds = effort.pick(1, 5);
    let mut starts = 0;
    for _ in 0..rounds {
        for hostile in HOSTILE {
            if let Some(missing) = hostile.tools.iter().find(|tool| find_program(tool).is_none()) {
                findings.skip(format!("{}: {missing} is not installed", hostile.name));
                continue;
            }
            match run_one(hostile) {
                Ok(started) => starts += started,
                Err(problem) => findings.fail(format!("{}: {problem}", hostile.name)),
            }
        }
    }
    findings.tried(starts, "starts of agents, each compared with the promise");
}

/// Returns the number of starts.
fn run_one(hostile: &Hostile) -> Result<u64, String> {
    let dir = DaemonDir::new(&[]);
    let first = (0..LEFT_ALONE + CHANGED + REMOVED).map(|number| entry(number, ""));
    configure(&dir, first);
    let descriptors = (hostile.descriptors)(dir.path());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &hostile.shell(&dir)]).current_dir(dir.path()).env_clear().envs(hostile.variables());
    let mut daemon = Agent::spawn(command);
    drop(descriptors);
    let started = compare_three_times(&dir, hostile);
    send(&dir, Signal::INT);
    let ended = daemon.wait_within(DEADLINE).is_some();
    match (started, ended) {
        (Ok(_), false) => Err("the daemon does not end with its agents".to_owned()),
        (started, _) => started,
    }
}

fn compare_three_times(dir: &DaemonDir, hostile: &Hostile) -> Result<u64, String> {
    let agents = LEFT_ALONE + CHANGED + REMOVED;
    let before = running(dir, agents, &|_| true)?;
    let promise = Promise::read(dir.path(), hostile);
    let log = fs::read_to_string(dir.path().join("daemon.log")).unwrap_or_default();
    if log.contains("agents ignore these signals too") != hostile.ignores_faults {
        return Err("the daemon's log does not say which signals its agents ignore".to_owned());
    }
    compare(&before, &promise, 0..0)?;

    // A reload changes, removes and adds, while others are restarted.
    let kept = (0..LEFT_ALONE).map(|number| entry(number, ""));
    let changed = (LEFT_ALONE..LEFT_ALONE + CHANGED).map(|number| entry(number, ", env: { ADDED: x }"));
    let added = (agents..agents + ADDED).map(|number| entry(number, ""));
    configure(dir, kept.chain(changed).chain(added));
    send(dir, Signal::HUP);
    let restarted = LEFT_ALONE / 2;
    for number in 0..restarted {
        call(&dir.socket(), "restart", &json!({ "agent_id": id(number) })).ok_or("a restart is not accepted")?;
    }
    let pid_before = |id: &str| before.iter().find(|(known, _)| known == id).map(|(_, pid)| *pid);
    let is_new = |(id, pid): &(String, u32)| match number_of(id) {
        number if number < restarted => pid_before(id) != Some(*pid),
        number if number < LEFT_ALONE => pid_before(id) == Some(*pid),
        number => number >= agents || pid_before(id) != Some(*pid),
    };
    let after = running(dir, LEFT_ALONE + CHANGED + ADDED, &is_new)?;
    compare(&after, &promise, LEFT_ALONE..LEFT_ALONE + CHANGED)?;
    Ok((agents + restarted + CHANGED + ADDED) as u64)
}

/// Sends a signal to the daemon. Under `script`, it is not the child of the test.
fn send(dir: &DaemonDir, number: Signal) {
    let health = call(&dir.socket(), "health", &json!({})).unwrap_or_default();
    let pid = health["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.into_iter().for_each(|pid| signal(pid, number));
}

/// The agents with their pids, once there are `count`, all run and all fit.
fn running(dir: &DaemonDir, count: usize, fits: &dyn Fn(&(String, u32)) -> bool) -> Result<Vec<(String, u32)>, String> {
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = call(&dir.socket(), "agents", &json!({})).unwrap_or_default();
        let agents = answer["agents"].as_array().or_else(|| answer.as_array()).cloned().unwrap_or_default();
        let running: Vec<(String, u32)> = agents.iter().filter_map(running_agent).collect();
        if agents.len() == count && running.len() == count && running.iter().all(fits) {
            return Ok(running);
        }
        if Instant::now() > until {
            let log = fs::read_to_string(dir.path().join("daemon.log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(3).collect();
            return Err(format!("{} of {count} agents run; the end of the daemon's log: {end:?}", running.len()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn running_agent(agent: &Value) -> Option<(String, u32)> {
    let pid = agent["pid"].as_u64().filter(|_| agent["state"] == "running")?;
    Some((agent["agent_id"].as_str()?.to_owned(), u32::try_from(pid).ok()?))
}

fn compare(agents: &[(String, u32)], promise: &Promise, changed: Range<usize>) -> Result<(), String> {
    for (id, pid) in agents {
        promise.check(id, *pid, changed.contains(&number_of(id))).map_err(|problem| format!("{id}: {problem}"))?;
    }
    Ok(())
}

fn id(number: usize) -> String {
    format!("agent-{number}")
}

fn number_of(id: &str) -> usize {
    id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn entry(number: usize, more: &str) -> String {
    format!("  - {{ id: {}, binary_path: /bin/sleep, args: [\"100000\"]{more} }}\n", id(number))
}

fn configure(dir: &DaemonDir, entries: impl Iterator<Item = String>) {
    let checks = "heartbeat_timeout: 0, cpu_threshold: 0, memory_threshold: 0, start_grace: 0s";
    let yaml = format!(
        "daemon: {{ work_dir: state, http: {{ port: 0 }}, log: {{ file: daemon.log }} }}\n\
         agent_defaults: {{ health_check: {{ {checks} }} }}\nagents:\n{}",
        entries.collect::<String>()
    );
    fs::write(dir.path().join("daemon.yaml"), yaml).expect("a configuration");
}
