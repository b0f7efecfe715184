//! Invariants that are checked again and again during the disturbances.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ops_protocol::status_file::{ReadError, StatusFile};
use ops_runtime::observe::read_status;
use serde_json::Value;
use statemachine::lifecycle::{FaultName, State};

use super::daemon::log;
use super::fleet::{AGENTS, Fleet, Process, Role};
use super::query::{ProcessUsage, ask, length, metric};
use super::run_state::{Counters, PendingRestart, RunState, Sample, lock};

/// The time between two rounds of checks.
const INTERVAL: Duration = Duration::from_millis(200);

const SINGLE_PROCESS: &str = "at most one process per agent";
const NEVER_RESTARTED: &str = "an undisturbed agent is never restarted";
const VALID_FILE: &str = "the status file always parses, checksum included";
const MONOTONIC: &str = "incarnation and sequence never go back";
const DURABLE_FIRST: &str = "the API is never ahead of the status file";
const HEALTH_CODE: &str = "/health is 200 in Running and in no other state";
const RESTARTED: &str = "a killed agent is restarted in time";

/// Checks the agents in this namespace. With `remote` unset, it also checks all processes and the daemon.
pub(super) fn watch(fleet: &Fleet<'_>, run_state: &RunState, remote: bool) {
    let mut seen: HashMap<usize, (u64, u64)> = HashMap::new();
    let mut stable: HashMap<usize, Process> = HashMap::new();
    let mut last = Instant::now();
    for round in 0_usize.. {
        if run_state.is_finished() {
            return;
        }
        let started = Instant::now();
        if !remote {
            let processes = fleet.processes();
            check_single_process(run_state, &processes);
            check_stable_agents(run_state, &processes, &mut stable);
            check_pending_restarts(fleet, run_state, &processes, started.duration_since(last));
            sample_daemon(fleet, run_state);
            let usage = ProcessUsage::of(run_state.daemon_pid.load(Ordering::SeqCst)).unwrap_or_default();
            let max_usage = lock(&run_state.max_usage).max(usage);
            *lock(&run_state.max_usage) = max_usage;
            run_state.count("checks of all processes");
        }
        last = started;
        for (index, agent) in AGENTS.iter().enumerate() {
            if remote == (agent.remote && fleet.network.is_some()) {
                check_agent(fleet, run_state, index, &mut seen, (round + index) % 2 == 0);
            }
        }
        std::thread::sleep(INTERVAL.saturating_sub(started.elapsed()));
    }
}

/// The list of processes is not atomic. Two processes of an agent existed together if both are still alive.
fn check_single_process(run_state: &RunState, processes: &HashMap<String, Vec<Process>>) {
    for (id, all) in processes.iter().filter(|(_, all)| all.len() > 1) {
        let both: Vec<&Process> = all.iter().filter(|process| process.is_alive()).collect();
        if both.len() > 1 && both.iter().all(|process| process.is_alive()) {
            run_state.fail(SINGLE_PROCESS, format!("{id} has the processes {both:?}"));
        }
    }
}

fn check_stable_agents(
    run_state: &RunState,
    processes: &HashMap<String, Vec<Process>>,
    stable: &mut HashMap<usize, Process>,
) {
    for (index, agent) in AGENTS.iter().enumerate().filter(|(_, agent)| agent.role == Role::Stable) {
        let Some(&process) = processes.get(agent.id).and_then(|all| all.first()) else {
            if stable.contains_key(&index) {
                run_state.fail(NEVER_RESTARTED, format!("{} is gone", agent.id));
            }
            continue;
        };
        let first = *stable.entry(index).or_insert(process);
        if first != process {
            run_state.fail(NEVER_RESTARTED, format!("{} was {first:?} and is {process:?}", agent.id));
            stable.insert(index, process);
        }
    }
}

/// A killed agent has to send heartbeats from a new process within its time limit.
fn check_pending_restarts(
    fleet: &Fleet<'_>,
    run_state: &RunState,
    processes: &HashMap<String, Vec<Process>>,
    passed: Duration,
) {
    let daemon_available = run_state.is_daemon_available();
    lock(&run_state.pending_restarts).retain_mut(|PendingRestart { index, killed, remaining, waited }| {
        let agent = &AGENTS[*index];
        let is_restarted = |process: &Process| {
            let file = read_status(&fleet.status_file(*index)).ok();
            *process != *killed && file.is_some_and(|file| file.pid == process.pid && file.state.sends_heartbeats())
        };
        if processes.get(agent.id).is_some_and(|all| all.iter().any(is_restarted)) {
            run_state.add_restart_time(*waited);
            return false;
        }
        if daemon_available {
            *waited += passed;
            *remaining = remaining.saturating_sub(passed);
        }
        if remaining.is_zero() {
            run_state.fail(
                RESTARTED,
                format!("{} is not restarted {:.1} s after {killed:?} was killed", agent.id, waited.as_secs_f64()),
            );
        }
        !remaining.is_zero()
    });
}

/// Checks the status file of an agent, and with `with_api` compares it with the API.
fn check_agent(
    fleet: &Fleet<'_>,
    run_state: &RunState,
    index: usize,
    seen: &mut HashMap<usize, (u64, u64)>,
    with_api: bool,
) {
    let Some(file) = read_file(fleet, run_state, index, seen) else { return };
    run_state.count("checks of a status file");
    let Some(address) = file.http.filter(|_| with_api && file.state != State::Stopped) else { return };
    let sequence = sample_agent(fleet, run_state, index, &file, address);
    let health = ask(address, "GET", "/health");
    let health = health.and_then(|(status, body)| Some((status, serde_json::from_str::<Value>(&body).ok()?)));
    let Some(after) = read_file(fleet, run_state, index, seen) else { return };
    let has_disk_fault = |file: &StatusFile| file.faults.iter().any(|fault| fault.name == FaultName::StatusFile);
    if after.pid != file.pid || has_disk_fault(&file) || has_disk_fault(&after) {
        return;
    }
    if let Some(sequence) = sequence.filter(|sequence| *sequence > after.sequence) {
        run_state.fail(
            DURABLE_FIRST,
            format!("{}: /metrics at {sequence}, the file at {}", AGENTS[index].id, after.sequence),
        );
    }
    if let Some((status, health)) = health.filter(|(_, health)| health["agent_id"] == AGENTS[index].id) {
        run_state.count("comparisons of an API with the status file");
        if (status == 200) != (health["state"] == State::Running.as_str()) {
            run_state
                .fail(HEALTH_CODE, format!("{} answers {status} to /health in {}", AGENTS[index].id, health["state"]));
        }
        let is_disk_fault = |fault: &Value| fault["name"] == FaultName::StatusFile.as_str();
        let disk_fault = health["faults"].as_array().is_some_and(|faults| faults.iter().any(is_disk_fault));
        if disk_fault {
            run_state.count("answers of an API with the fault `status_file`");
        } else if !contains_state(&after, &health) {
            let (state, since) = (&health["state"], &health["since"]);
            run_state.fail(
                DURABLE_FIRST,
                format!("{}: /health reports {state} since {since}, the file does not contain it", AGENTS[index].id),
            );
        }
    }
}

fn read_file(
    fleet: &Fleet<'_>,
    run_state: &RunState,
    index: usize,
    seen: &mut HashMap<usize, (u64, u64)>,
) -> Option<StatusFile> {
    let id = AGENTS[index].id;
    let file = match read_status(&fleet.status_file(index)) {
        Ok(file) => file,
        Err(ReadError::Missing) if !seen.contains_key(&index) => return None,
        Err(error) => {
            run_state.fail(VALID_FILE, format!("{id}: {error:?}"));
            return None;
        }
    };
    let now = (file.incarnation, file.sequence);
    let before = seen.insert(index, now).unwrap_or(now);
    if now.0 < before.0 || now.1 < before.1 {
        run_state.fail(MONOTONIC, format!("{id}: {now:?} after {before:?}"));
    }
    Some(file)
}

/// Whether a status file, read later, contains the state that the API reported.
fn contains_state(file: &StatusFile, health: &Value) -> bool {
    let (state, since) = (health["state"].as_str().unwrap_or_default(), health["since"].as_str().unwrap_or_default());
    let is = |of: State, at: String| of.as_str() == state && at == since;
    state == State::Starting.as_str()
        || is(file.state, file.since.to_string())
        || file.history.iter().any(|transition| is(transition.to, transition.at.to_string()))
}

/// Samples an agent's counters. Returns the sequence that its API shows.
fn sample_agent(
    fleet: &Fleet<'_>,
    run_state: &RunState,
    index: usize,
    file: &StatusFile,
    address: SocketAddr,
) -> Option<u64> {
    let log = fleet.log(index);
    let before = length(&log);
    let (_, text) = ask(address, "GET", "/metrics")?;
    let after = length(&log);
    // Another process may use the port by now.
    let incarnation = metric(&text, "ops_agent_incarnation", &[]);
    // Otherwise the log lacks events that are counted already.
    let is_written = metric(&text, "ops_agent_log_lines_pending", &[]) == 0;
    let pid = file.pid;
    if !is_written || incarnation != file.incarnation || !Process::exists(pid, file.process_start) {
        return None;
    }
    let count = |result: &str| metric(&text, "ops_agent_heartbeats_total", &[&format!("result=\"{result}\"")]);
    let (delivered, failed, abandoned) = (count("success"), count("failure"), count("abandoned"));
    let counters = Counters::Agent { index, incarnation, delivered, failed, abandoned };
    lock(&run_state.samples).push(Sample { counters, before, after });
    // With the fault `status_file`, the API may be ahead of the file.
    let disk_fault = metric(&text, "ops_agent_fault", &["fault=\"status_file\""]) > 0;
    Some(metric(&text, "ops_agent_status_sequence", &[])).filter(|_| !disk_fault)
}

/// Samples the daemon's counters.
pub(super) fn sample_daemon(fleet: &Fleet<'_>, run_state: &RunState) -> Option<Sample> {
    let number = *lock(&run_state.daemon_run);
    let path = log(fleet, number);
    let before = length(&path);
    let text = fleet.daemon_metrics().filter(|_| run_state.is_daemon_available())?;
    let after = length(&path);
    let is_written = metric(&text, "ops_daemon_log_lines_pending", &[]) == 0;
    if !is_written || number != *lock(&run_state.daemon_run) {
        return None;
    }
    let count = |result: &str| metric(&text, "ops_daemon_heartbeats_total", &[&format!("result=\"{result}\"")]);
    // The daemon drops the counter of the temporary agent with the agent.
    let permanent = AGENTS.iter().enumerate().filter(|(_, agent)| agent.role != Role::Temporary);
    let by_agent = permanent.map(|(index, agent)| {
        (index, metric(&text, "ops_daemon_agent_heartbeats_total", &[&format!("agent_id=\"{}\"", agent.id)]))
    });
    let counters = Counters::Daemon {
        run: number,
        by_agent: by_agent.collect(),
        accepted: count("accepted"),
        refused: count("refused"),
    };
    let sample = Sample { counters, before, after };
    lock(&run_state.samples).push(sample.clone());
    Some(sample)
}
