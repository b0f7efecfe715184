//! Applies the disturbances of the plan.

use std::time::{Duration, Instant, SystemTime};

use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::json;

use super::daemon::Daemon;
use super::fleet::{AGENTS, BACKOFF_MAX, Fleet, INTERVAL, Process};
use super::network::NetworkFault;
use super::plan::{Disturbance, Plan};
use super::query::call;
use super::run_state::{PendingRestart, RunState, Scope, lock};
use crate::support::daemon::signal;

/// The time for exit, start and first heartbeat of an agent on a busy machine. The backoff comes on top.
const MARGIN: Duration = Duration::from_secs(20);

const CLEAN_EXIT: &str = "the daemon only exits on request, with code 0";

/// Applies disturbances, and owns the daemon.
pub(super) struct Disturber<'a> {
    pub(super) fleet: &'a Fleet<'a>,
    pub(super) run_state: &'a RunState,
    pub(super) daemon: Daemon,
    /// Whether the daemon's configuration contains the temporary agent.
    pub(super) has_temporary: bool,
    pub(super) scheduled: Vec<ScheduledRecovery>,
}

/// The end of a disturbance, with its due time.
pub(super) struct ScheduledRecovery {
    due: Instant,
    started: SystemTime,
    pub(super) recovery: Recovery,
}

#[derive(Clone, Copy)]
pub(super) enum Recovery {
    ContinueAgent(usize, Process),
    ContinueDaemon(u32),
    RestoreNetwork(NetworkFault),
}

impl<'a> Disturber<'a> {
    /// Starts the first daemon.
    pub(super) fn new(fleet: &'a Fleet<'a>, run_state: &'a RunState) -> Self {
        let daemon = Daemon::start(fleet, 0);
        run_state.daemon_started(daemon.pid());
        Self { fleet, run_state, daemon, has_temporary: true, scheduled: Vec::new() }
    }

    /// Applies disturbances until `until`.
    pub(super) fn disturb(&mut self, plan: &mut Plan, until: Instant) {
        loop {
            let (pause, disturbance) = plan.next();
            let due = Instant::now() + pause;
            if due >= until {
                break;
            }
            self.sleep_until(due);
            if let Some(status) = self.daemon.has_ended() {
                self.run_state.fail(CLEAN_EXIT, format!("unexpected exit: {status}"));
                self.start_daemon();
            }
            self.run_state.note(format!("{disturbance:?}"));
            if self.apply(disturbance) {
                self.run_state.count(disturbance.as_str());
            } else {
                self.run_state.note("skipped: its target is not available".to_owned());
            }
        }
        self.sleep_until(until);
    }

    /// Ends all disturbances, and restores all configurations.
    pub(super) fn restore(&mut self) {
        for scheduled in std::mem::take(&mut self.scheduled) {
            self.recover(&scheduled);
        }
        for index in 0..AGENTS.len() {
            self.fleet.configure_agent(index, INTERVAL);
        }
        if !self.has_temporary {
            self.reload_daemon(true);
        }
    }

    /// Waits until `until`, and applies recoveries that are due.
    fn sleep_until(&mut self, until: Instant) {
        loop {
            let next = self.scheduled.iter().map(|scheduled| scheduled.due).min().filter(|due| *due < until);
            std::thread::sleep(next.unwrap_or(until).saturating_duration_since(Instant::now()));
            if next.is_none() {
                return;
            }
            let now = Instant::now();
            let (due, rest) =
                std::mem::take(&mut self.scheduled).into_iter().partition(|scheduled| scheduled.due <= now);
            self.scheduled = rest;
            due.iter().for_each(|scheduled| self.recover(scheduled));
        }
    }

    fn recover(&self, scheduled: &ScheduledRecovery) {
        let scope = match scheduled.recovery {
            Recovery::ContinueAgent(index, process) => {
                if process.is_alive() {
                    signal(process.pid, Signal::CONT);
                }
                Scope::Agent(index)
            }
            Recovery::ContinueDaemon(pid) => {
                if pid == self.daemon.pid() {
                    self.daemon.signal(Signal::CONT);
                    self.run_state.set_daemon_available(true);
                }
                Scope::All
            }
            Recovery::RestoreNetwork(fault) => {
                if let Some(network) = self.fleet.network {
                    network.clear(fault);
                }
                Scope::Remote
            }
        };
        self.run_state.add_interruption(scope, scheduled.started);
    }

    fn schedule(&mut self, after: Duration, recovery: Recovery) {
        self.scheduled.push(ScheduledRecovery { due: Instant::now() + after, started: SystemTime::now(), recovery });
    }

    /// `false`: the target is not available.
    fn apply(&mut self, disturbance: Disturbance) -> bool {
        match disturbance {
            Disturbance::KillAgent(index) => return self.end_agent(index, Signal::KILL),
            Disturbance::TerminateAgent(index) => return self.end_agent(index, Signal::TERM),
            Disturbance::StopAgent(index, time) => {
                let Some(process) = self.working_process(index) else { return false };
                signal(process.pid, Signal::STOP);
                self.schedule(time, Recovery::ContinueAgent(index, process));
            }
            Disturbance::ReloadAgent { index, reload } => return self.reload_agent(index, reload),
            Disturbance::RestartAgent(index) => {
                let started = SystemTime::now();
                let accepted = call(&self.fleet.dir.socket(), "restart", &json!({ "agent_id": AGENTS[index].id }));
                self.run_state.add_interruption(Scope::Agent(index), started);
                return accepted.is_some();
            }
            Disturbance::KillDaemon(gap) => self.replace_daemon(Signal::KILL, gap),
            Disturbance::TerminateDaemon(gap) => self.replace_daemon(Signal::TERM, gap),
            Disturbance::StopDaemon(time) => {
                self.run_state.set_daemon_available(false);
                self.daemon.signal(Signal::STOP);
                self.schedule(time, Recovery::ContinueDaemon(self.daemon.pid()));
            }
            Disturbance::ReloadDaemon { valid } => self.reload_daemon(valid),
            Disturbance::KillInFlight { index, with_daemon } => return self.kill_in_flight(index, with_daemon),
            Disturbance::KillDuringOutage(index, time) => {
                if self.working_process(index).is_none()
                    || !self.break_network(NetworkFault::DaemonLinkDown, INTERVAL * 3 + time)
                {
                    return false;
                }
                self.sleep_until(Instant::now() + INTERVAL * 3);
                return self.end_agent(index, Signal::KILL);
            }
            Disturbance::BreakNetwork(fault, time) => return self.break_network(fault, time),
        }
        true
    }

    fn break_network(&mut self, fault: NetworkFault, time: Duration) -> bool {
        if self.fleet.network.is_none_or(|network| network.inject(fault).is_err()) {
            return false;
        }
        self.schedule(time, Recovery::RestoreNetwork(fault));
        true
    }

    /// The process of an agent that is not stopped and sends heartbeats.
    pub(super) fn working_process(&self, index: usize) -> Option<Process> {
        let is_stopped =
            |it: &ScheduledRecovery| matches!(it.recovery, Recovery::ContinueAgent(other, _) if other == index);
        if self.scheduled.iter().any(is_stopped) {
            return None;
        }
        let process = self.fleet.process(index)?;
        let file = read_status(&self.fleet.status_file(index)).ok()?;
        (file.pid == process.pid && file.state.sends_heartbeats()).then_some(process)
    }

    /// Sends a signal that ends an agent. SIGCONT makes it effective on a stopped process.
    fn end_agent(&self, index: usize, number: Signal) -> bool {
        let Some(killed) = self.fleet.process(index) else { return false };
        let started = SystemTime::now();
        signal(killed.pid, number);
        signal(killed.pid, Signal::CONT);
        self.run_state.add_interruption(Scope::Agent(index), started);
        let mut pending = lock(&self.run_state.pending_restarts);
        if pending.iter().all(|restart| restart.killed != killed) {
            // An agent has at most one pending restart.
            pending.retain(|restart| restart.index != index);
            pending.push(PendingRestart { index, killed, remaining: BACKOFF_MAX + MARGIN, waited: Duration::ZERO });
        }
        true
    }

    /// Ends the daemon, and starts another one after `gap`.
    fn replace_daemon(&mut self, number: Signal, gap: Duration) {
        let started = SystemTime::now();
        self.run_state.set_daemon_available(false);
        self.daemon.signal(number);
        self.daemon.signal(Signal::CONT);
        let status = self.daemon.wait();
        if number == Signal::TERM && status.and_then(|status| status.code()) != Some(0) {
            self.run_state.fail(CLEAN_EXIT, format!("SIGTERM: {status:?}"));
        }
        self.sleep_until(Instant::now() + gap);
        self.start_daemon();
        self.run_state.add_interruption(Scope::All, started);
    }

    /// Kills an agent while its heartbeat is in flight: the daemon reads it later, or is killed as well.
    fn kill_in_flight(&mut self, index: usize, with_daemon: bool) -> bool {
        if self.working_process(index).is_none() {
            return false;
        }
        let started = SystemTime::now();
        self.run_state.set_daemon_available(false);
        self.daemon.signal(Signal::STOP);
        self.sleep_until(Instant::now() + INTERVAL * 3);
        let killed = self.end_agent(index, Signal::KILL);
        if with_daemon {
            self.replace_daemon(Signal::KILL, Duration::ZERO);
        } else {
            self.daemon.signal(Signal::CONT);
            self.run_state.set_daemon_available(true);
        }
        self.run_state.add_interruption(Scope::All, started);
        killed
    }

    fn start_daemon(&mut self) {
        let number = {
            let mut number = lock(&self.run_state.daemon_run);
            *number += 1;
            *number
        };
        self.daemon = Daemon::start(self.fleet, number);
        self.run_state.daemon_started(self.daemon.pid());
    }
}
