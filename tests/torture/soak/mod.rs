//! Agents and a daemon under kills, stops, reloads, restarts and network faults.
//!
//! `SOAK_SECONDS` sets the duration. `SOAK_SEED` determines all disturbances, their targets and their order. Their
//! exact timing depends on the machine.

mod daemon;
mod disturb;
mod fleet;
mod heartbeat_log;
mod network;
mod plan;
pub(crate) mod query;
mod reconcile;
mod reload;
mod run_state;
mod watch;

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use ops_protocol::status_file::Ended;
use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::json;

use self::disturb::Disturber;
use self::fleet::{AGENTS, Fleet, Role};
use self::heartbeat_log::{HeartbeatEvent, HeartbeatLog};
use self::network::{Network, NetworkFault};
use self::plan::Plan;
use self::query::{ProcessUsage, call};
use self::run_state::{Counters, RunState, lock};
use crate::Effort;
use crate::report::Findings;
use crate::support::agent::DEADLINE;
use crate::support::daemon::signal;

/// The time that start and end of the run take.
const OVERHEAD: Duration = Duration::from_secs(6);

/// The idle time before memory and descriptors are measured.
const IDLE_TIME: Duration = Duration::from_secs(2);

/// How much memory and descriptors of a process may grow: a blocking thread, a kept connection.
const MORE_RESIDENT: u64 = 2 << 20;
const MORE_DESCRIPTORS: u64 = 5;

const ALL_HEALTHY: &str = "without disturbances, all agents run and are healthy";
const NO_GROWTH: &str = "memory and descriptors do not grow";
const CLEAN_END: &str = "a clean exit leaves no process, and correct status files";

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let length = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(effort.pick(25, 60)));
    println!("    SOAK_SEED={seed} SOAK_SECONDS={}", length.as_secs());
    findings.note(format!(
        "`SOAK_SEED={seed}` for {} s; the same seed gives the same disturbances in the same order",
        length.as_secs()
    ));
    match Network::new() {
        Ok(network) => {
            if let Err(why) = &network.loss {
                findings.skip(format!("partial packet loss: {why}; the other four network faults were possible"));
            }
            network.in_daemon_namespace(|| soak(seed, length, Some(&network), findings));
        }
        Err(why) => {
            findings.skip(format!("network faults between namespaces: {why}; all agents were on loopback"));
            soak(seed, length, None, findings);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}")))
}

fn soak(seed: u64, length: Duration, network: Option<&Network>, findings: &mut Findings) {
    let started = Instant::now();
    let mut network_faults = network.map_or_else(Vec::new, |_| NetworkFault::ALWAYS.to_vec());
    network_faults.extend(network.filter(|network| network.loss.is_ok()).map(|_| NetworkFault::Loss));
    let (fleet, run_state) = (Fleet::new(network), RunState::default());
    let mut disturber = Disturber::new(&fleet, &run_state);
    thread::scope(|scope| {
        // After a panic in here, the watchers have to end, or the scope would never report it.
        let _finish = FinishOnDrop(&run_state);
        wait_until_healthy(&fleet, &run_state);
        thread::sleep(IDLE_TIME);
        let before = usage(&fleet, &disturber);
        scope.spawn(|| watch::watch(&fleet, &run_state, false));
        if let Some(network) = network {
            let (fleet, run_state) = (&fleet, &run_state);
            scope.spawn(move || network.in_remote_namespace(|| watch::watch(fleet, run_state, true)));
        }
        disturber.disturb(&mut Plan::new(seed, network_faults), started + length.saturating_sub(OVERHEAD));
        disturber.restore();
        wait_until_healthy(&fleet, &run_state);
        thread::sleep(IDLE_TIME);
        check_growth(&before, &usage(&fleet, &disturber), &run_state, findings);
    });
    compare_exact_counters(&fleet, &run_state);
    let heartbeats = stop_all(&fleet, &run_state, &mut disturber);
    reconcile::reconcile(&heartbeats, &run_state, findings);
    report(&heartbeats, &run_state, findings);
    if !run_state.failures().is_empty() {
        keep_logs(&fleet, &run_state, findings);
    }
}

/// Ends the watchers when dropped.
struct FinishOnDrop<'a>(&'a RunState);

impl Drop for FinishOnDrop<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Waits until all agents run and are healthy, and no restart is pending.
fn wait_until_healthy(fleet: &Fleet<'_>, run_state: &RunState) {
    let until = Instant::now() + DEADLINE;
    loop {
        let problems: Vec<String> = (0..AGENTS.len()).filter_map(|index| problem(fleet, index)).collect();
        if problems.is_empty() && lock(&run_state.pending_restarts).is_empty() {
            return;
        }
        if Instant::now() > until {
            return run_state.fail(
                ALL_HEALTHY,
                format!("{}; {} restarts are pending", problems.join("; "), lock(&run_state.pending_restarts).len()),
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A problem of an agent, as the daemon or the agent itself reports it.
fn problem(fleet: &Fleet<'_>, index: usize) -> Option<String> {
    let id = AGENTS[index].id;
    let Some(agent) = call(&fleet.dir.socket(), "agent", &json!({ "agent_id": id })) else {
        return Some(format!("the daemon does not report {id}"));
    };
    if agent["state"] != "running" || agent["heartbeats"].as_u64() == Some(0) {
        return Some(format!("{id} is {}: {}", agent["state"], agent["why"]));
    }
    match read_status(&fleet.status_file(index)) {
        Ok(file) => file.faults.first().map(|fault| format!("{id} reports {}: {}", fault.name.as_str(), fault.detail)),
        Err(error) => Some(format!("{id}: {error}")),
    }
}

/// The resource usage of the daemon and of each agent.
fn usage(fleet: &Fleet<'_>, disturber: &Disturber<'_>) -> Vec<(&'static str, Option<ProcessUsage>)> {
    let agents = (0..AGENTS.len())
        .map(|index| (AGENTS[index].id, fleet.process(index).and_then(|process| ProcessUsage::of(process.pid))));
    std::iter::once(("daemon", ProcessUsage::of(disturber.daemon.pid()))).chain(agents).collect()
}

fn check_growth(
    before: &[(&'static str, Option<ProcessUsage>)],
    after: &[(&'static str, Option<ProcessUsage>)],
    run_state: &RunState,
    findings: &mut Findings,
) {
    // Each run of the daemon is short, so its growth is the maximum over all runs.
    let daemon = *lock(&run_state.max_usage);
    let after = after.iter().copied().chain([("daemon, at any time", Some(ProcessUsage { descriptors: 0, ..daemon }))]);
    let before = before.iter().chain(before.first());
    let mut growth = (0, 0);
    for ((_, before), (name, after)) in before.zip(after) {
        let (Some(before), Some(after)) = (before, after) else {
            run_state.fail(NO_GROWTH, format!("{name} cannot be measured"));
            continue;
        };
        let resident = after.resident.saturating_sub(before.resident);
        let descriptors = after.descriptors.saturating_sub(before.descriptors);
        if resident > MORE_RESIDENT || descriptors > MORE_DESCRIPTORS {
            run_state.fail(NO_GROWTH, format!("{name} had {before:?} and has {after:?}"));
        }
        growth = (growth.0.max(resident), growth.1.max(descriptors));
    }
    findings.note(format!(
        "memory grew by at most {} KiB, that of the daemon at any time included; open descriptors grew by at most {}; the daemon had \
         at most {}",
        growth.0 / 1024,
        growth.1,
        daemon.descriptors
    ));
}

/// Stops all agents, so that one sample of the daemon's counters has to match its log exactly.
fn compare_exact_counters(fleet: &Fleet<'_>, run_state: &RunState) {
    let all = fleet.processes();
    let signal_all = |number| all.values().flatten().for_each(|process| signal(process.pid, number));
    signal_all(Signal::STOP);
    let until = Instant::now() + DEADLINE;
    let exact = || watch::sample_daemon(fleet, run_state).is_some_and(|sample| sample.before == sample.after);
    while !exact() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    signal_all(Signal::CONT);
}

/// Stops daemon and agents, and reads all logs.
fn stop_all(fleet: &Fleet<'_>, run_state: &RunState, disturber: &mut Disturber<'_>) -> HeartbeatLog {
    run_state.set_daemon_available(false);
    disturber.daemon.signal(Signal::INT);
    let status = disturber.daemon.wait();
    if status.and_then(|status| status.code()) != Some(0) {
        run_state.fail(CLEAN_END, format!("SIGINT: the daemon exited with {status:?}"));
    }
    let survivors = fleet.dir.survivors();
    if !survivors.is_empty() {
        run_state.fail(CLEAN_END, format!("{survivors:?} are still running"));
    }
    let last_run = *lock(&run_state.daemon_run);
    let heartbeats = HeartbeatLog::read(fleet, last_run);
    for (index, agent) in AGENTS.iter().enumerate() {
        let Ok(file) = read_status(&fleet.status_file(index)) else {
            run_state.fail(CLEAN_END, format!("{} has no status file", agent.id));
            continue;
        };
        if file.ended() != Ended::Clean {
            run_state
                .fail(CLEAN_END, format!("{} ended {:?}, in {:?}: {}", agent.id, file.ended(), file.state, file.cause));
        }
        let logged = |event: HeartbeatEvent| {
            let entries = heartbeats.agents[index].iter();
            entries.filter(|entry| entry.incarnation == file.incarnation && entry.event == event).count() as u64
        };
        let (log, file) = (
            (logged(HeartbeatEvent::Delivered), logged(HeartbeatEvent::Failed)),
            (file.heartbeat.sent, file.heartbeat.failed),
        );
        if log != file {
            run_state.fail(
                CLEAN_END,
                format!("{}: (sent, failed) is {file:?} in its file and {log:?} in its log", agent.id),
            );
        }
    }
    heartbeats
}

fn report(heartbeats: &HeartbeatLog, run_state: &RunState, findings: &mut Findings) {
    for (what, times) in run_state.counts() {
        findings.tried(times, what);
    }
    let (count, longest) = run_state.restart_times();
    findings.note(format!(
        "{count} killed agents were restarted, the slowest after {:.1} s in which the daemon was available",
        longest.as_secs_f64()
    ));
    findings.note(format!("{} runs of the daemon, {} adoptions", heartbeats.daemons.len(), heartbeats.adopted));
    let stable = AGENTS.iter().filter(|agent| agent.role == Role::Stable).count();
    findings.note(format!("{stable} undisturbed agents, each the same process throughout"));
    let of_agents = |sample: &&run_state::Sample| matches!(sample.counters, Counters::Agent { .. });
    let samples = lock(&run_state.samples);
    let agents = samples.iter().filter(of_agents).count();
    findings.note(format!(
        "{agents} samples of an agent's /metrics and {} of the daemon's were compared with the logs",
        samples.len() - agents
    ));
    if agents == 0 || samples.len() == agents {
        findings.fail("no sample of /metrics was compared with a log, of the agents or of the daemon");
    }
    run_state.failures().into_iter().for_each(|failure| findings.fail(failure));
}

/// Keeps the logs and the notes for the analysis of a failure.
fn keep_logs(fleet: &Fleet<'_>, run_state: &RunState, findings: &mut Findings) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak");
    let logs = fs::read_dir(fleet.dir.path()).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let copy = || -> io::Result<()> {
        fs::create_dir_all(&directory)?;
        for log in logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
            fs::copy(&log, directory.join(log.file_name().unwrap_or_default()))?;
        }
        fs::write(directory.join("notes.txt"), run_state.notes())
    };
    match copy() {
        Ok(()) => findings.note("logs and notes are in `target/tmp/soak`"),
        Err(error) => findings.skip(format!("logs and notes: {error}")),
    }
}
