//! Reloads of agents and of the daemon, with valid and invalid files.

use std::time::{Duration, Instant, SystemTime};

use ops_runtime::observe::read_status;
use rustix::process::Signal;

use super::disturb::{Disturber, Recovery};
use super::fleet::{AGENTS, INTERVAL, Role};
use super::plan::Reload;
use super::query::ask;
use super::run_state::Scope;
use crate::support::agent::DEADLINE;
use crate::support::daemon::signal;

const RELOADS: &str = "a reload applies a valid file and refuses an invalid one";

impl Disturber<'_> {
    /// Reloads an agent with another configuration, or with an invalid one.
    pub(super) fn reload_agent(&self, index: usize, reload: Reload) -> bool {
        let Some(process) = self.working_process(index) else { return false };
        let (started, id) = (SystemTime::now(), AGENTS[index].id);
        if reload.valid {
            self.fleet.configure_agent(index, INTERVAL + Duration::from_millis(u64::from(process.pid % 3) * 50));
        } else {
            self.fleet.replace_file(&format!("{id}.yaml"), "agent_id: [\n");
        }
        let words = if reload.valid { "configuration reloaded" } else { "configuration not reloaded" };
        let logged = || std::fs::read_to_string(self.fleet.log(index)).map_or(0, |log| log.matches(words).count());
        let before = logged();
        if reload.by_request {
            let address = read_status(&self.fleet.status_file(index)).ok().and_then(|file| file.http);
            let answer =
                address.and_then(|address| self.fleet.in_namespace_of(index, || ask(address, "POST", "/reload")));
            let expected = if reload.valid { 200 } else { 400 };
            if let Some((status, body)) = answer.filter(|(status, _)| *status != expected && *status != 503) {
                self.run_state.fail(RELOADS, format!("{id} answered {status} to POST /reload: {body}"));
            }
        } else {
            signal(process.pid, Signal::HUP);
        }
        let until = Instant::now() + DEADLINE;
        while process.is_alive() && logged() == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if process.is_alive() && logged() == before {
            self.run_state.fail(RELOADS, format!("{id} did not log {words:?}"));
        }
        // A later start of the agent needs a valid file.
        if !reload.valid {
            self.fleet.configure_agent(index, INTERVAL);
        }
        self.run_state.add_interruption(Scope::Agent(index), started);
        true
    }

    /// Reloads the daemon. A valid file adds or removes the temporary agent.
    pub(super) fn reload_daemon(&mut self, valid: bool) {
        if self.scheduled.iter().any(|scheduled| matches!(scheduled.recovery, Recovery::ContinueDaemon(_))) {
            // A stopped daemon would read the file only after it has changed again.
            self.daemon.signal(Signal::CONT);
            self.run_state.set_daemon_available(true);
        }
        let started = SystemTime::now();
        let words = if valid { "configuration reloaded" } else { "configuration not reloaded" };
        let before = self.daemon.count_lines(words);
        if valid {
            self.has_temporary = !self.has_temporary;
            self.fleet.configure_daemon(self.has_temporary);
        } else {
            self.fleet.replace_file("daemon.yaml", "agents: {\n");
        }
        self.daemon.signal(Signal::HUP);
        let until = Instant::now() + DEADLINE;
        while self.daemon.count_lines(words) == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.daemon.count_lines(words) == before {
            self.run_state.fail(RELOADS, format!("the daemon did not log {words:?}"));
        }
        if !valid {
            self.fleet.configure_daemon(self.has_temporary);
        }
        let temporary = (0..AGENTS.len()).filter(|&index| AGENTS[index].role == Role::Temporary);
        temporary.for_each(|index| self.run_state.add_interruption(Scope::Agent(index), started));
    }
}
