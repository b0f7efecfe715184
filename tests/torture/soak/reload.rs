//! Reloads, good and bad ones, of agents and of the daemon.

use std::time::{Duration, Instant, SystemTime};

use ops_runtime::observe::read_status;
use rustix::process::Signal;

use super::disturb::{End, Hand};
use super::fleet::{INTERVAL, Lot, MEMBERS};
use super::plan::Reload;
use super::query::ask;
use super::run_state::Whom;
use crate::support::agent::DEADLINE;
use crate::support::daemon::signal;

const RELOADS: &str = "a good reload is applied and a bad one refused";

impl Hand<'_> {
    /// An agent reads another configuration, or a bad one.
    pub(super) fn reload_agent(&self, who: usize, how: Reload) -> bool {
        let Some(process) = self.undisturbed(who) else { return false };
        let (begun, id) = (SystemTime::now(), MEMBERS[who].id);
        if how.good {
            self.fleet.configure_agent(who, INTERVAL + Duration::from_millis(u64::from(process.pid % 3) * 50));
        } else {
            self.fleet.replace(&format!("{id}.yaml"), "agent_id: [\n");
        }
        let words = if how.good { "configuration reloaded" } else { "configuration not reloaded" };
        let said = || std::fs::read_to_string(self.fleet.log(who)).map_or(0, |log| log.matches(words).count());
        let before = said();
        if how.asked {
            let address = read_status(&self.fleet.status_file(who)).ok().and_then(|file| file.http);
            let answer = address.and_then(|address| self.fleet.beside(who, || ask(address, "POST", "/reload")));
            let wanted = if how.good { 200 } else { 400 };
            if let Some((status, body)) = answer.filter(|(status, _)| *status != wanted && *status != 503) {
                self.diary.lost(RELOADS, format!("{id} answered {status} to POST /reload: {body}"));
            }
        } else {
            signal(process.pid, Signal::HUP);
        }
        let until = Instant::now() + DEADLINE;
        while process.lives() && said() == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if process.lives() && said() == before {
            self.diary.lost(RELOADS, format!("{id} has not said {words:?}"));
        }
        // Whoever starts now is to find a good one.
        if !how.good {
            self.fleet.configure_agent(who, INTERVAL);
        }
        self.diary.interrupted(Whom::Agent(who), begun);
        true
    }

    /// A good reload changes whether there is a guest.
    pub(super) fn reload_daemon(&mut self, good: bool) {
        if self.later.iter().any(|later| matches!(later.what, End::ContinueDaemon(_))) {
            // It would be heard later, with whatever is in the file then.
            self.daemon.signal(Signal::CONT);
            self.diary.attend(true);
        }
        let begun = SystemTime::now();
        let words = if good { "configuration reloaded" } else { "configuration not reloaded" };
        let before = self.daemon.times(words);
        if good {
            self.guest = !self.guest;
            self.fleet.configure_daemon(self.guest);
        } else {
            self.fleet.replace("daemon.yaml", "agents: {\n");
        }
        self.daemon.signal(Signal::HUP);
        let until = Instant::now() + DEADLINE;
        while self.daemon.times(words) == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.daemon.times(words) == before {
            self.diary.lost(RELOADS, format!("the daemon has not said {words:?}"));
        }
        if !good {
            self.fleet.configure_daemon(self.guest);
        }
        let guests = (0..MEMBERS.len()).filter(|&who| MEMBERS[who].lot == Lot::Guest);
        guests.for_each(|who| self.diary.interrupted(Whom::Agent(who), begun));
    }
}
