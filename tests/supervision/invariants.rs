//! The invariants of the simulation. They use facts of the host that the daemon cannot know.

use std::time::Duration;

use ops_agent::testing::daemon::checks::CheckLimits;
use ops_agent::testing::daemon::registry::AgentAction;
use ops_agent::testing::daemon::restart_guard::{COLLECTING, HoldReason, MASS};
use statemachine::supervision::{Event, RestartWhen, State, StopSettings, Supervised, Transition};

use super::host::{Process, ScriptedFault};
use super::service_check::ServiceCheck;
use super::simulation::{AGENTS, Effects, GRACE, HOG, INTERVAL, MAX_AGE, MAX_RETRIES, SILENCE, SLACK, id, number};

/// The longest time from SIGKILL to the end of a tree, or to the report that it does not end.
const KILL_TAKES: Duration = Duration::from_secs(10);

impl Effects {
    /// Checks each action of the daemon.
    pub(super) fn watch(&mut self, action: &AgentAction) {
        let Some(moved) = &action.transition else { return };
        let agent = number(&action.id);
        if moved.event == Event::Condemned {
            self.watch_verdict(agent, action, moved);
        }
        if moved.event == Event::BackoffElapsed {
            self.restarts += 1;
            let machine = self.daemon.as_ref().unwrap().get(&action.id).unwrap().machine();
            assert!(machine.retries() <= MAX_RETRIES);
            let wait = machine.retries().checked_sub(1).map_or(Duration::ZERO, |n| machine.policy().wait(n));
            assert!(self.now >= self.known[agent].died + wait, "{agent} was started again too soon");
        }
        let known = &mut self.known[agent];
        let is_requested = matches!(moved.event, Event::StartRequested | Event::RestartRequested);
        known.given_up = moved.to == State::Failed || (known.given_up && !is_requested);
        let failed = matches!(moved.from, State::Starting | State::Running | State::Unhealthy)
            && moved.event != Event::StopRequested;
        let failed = failed && matches!(moved.to, State::Stopping | State::Backoff | State::Failed);
        if failed {
            self.known[agent].failed = Some(self.now);
        }
    }

    fn watch_verdict(&mut self, agent: usize, action: &AgentAction, moved: &Transition) {
        self.condemned += 1;
        let code = self.daemon.as_ref().unwrap().get(&action.id).unwrap().machine().reason().map(|why| why.reason.code);
        for (check, count) in ServiceCheck::ALL.iter().zip(&mut self.condemned_by_service) {
            *count += u64::from(code == Some(check.code()));
        }
        let cause = &moved.cause;
        assert_ne!(self.wanted_policy(agent), RestartWhen::Never, "{agent} {cause}");
        assert!(self.last_hold.is_none_or(|at| self.now >= at + INTERVAL), "{agent} {cause}, while restarts are held");
        let process = action
            .process
            .and_then(|process| self.host.processes.get(&process.pid).filter(|alive| alive.identity == process));
        if let Some(process) = process {
            assert!(process.deserves_restart(self.now, GRACE), "{agent} is healthy, and {cause}: {process:?}");
            let Some(froze) = process.froze else { return };
            let looked_again = self.last_mass_failure.is_some_and(|at| at > froze && self.now >= at + INTERVAL);
            assert!(looked_again || !self.is_mass(froze), "{agent} froze with most of the host, and {cause} at once");
            self.restarted_after_hold += u64::from(looked_again);
        }
    }

    /// Whether the agents that froze at this moment, and that were judged until now, are a mass failure.
    fn is_mass(&self, froze: Duration) -> bool {
        let daemon = self.daemon.as_ref().unwrap();
        let machines =
            || daemon.iter().map(|(id, entry)| (id, entry.machine())).filter(|(_, machine)| machine.wanted());
        let may_run = machines().filter(|(_, machine)| machine.state() != State::Stopped).count();
        let is_judged = |machine: &Supervised| machine.state().is_judged() || machine.since().monotonic == self.now;
        let froze_then = |agent: &usize| self.host.processes.values().any(|process| process.is_frozen(*agent, froze));
        let judged = machines().filter(|(_, machine)| is_judged(machine)).map(|(id, _)| number(id));
        let froze_then = judged.filter(froze_then).count();
        froze_then >= MASS && froze_then * 2 > may_run
    }

    /// A hold for a mass failure needs as many agents that are in trouble, or were within one interval.
    pub(super) fn watch_mass_failure(&self, reason: HoldReason) {
        let HoldReason::MassFailure { bad, .. } = reason else { panic!("{reason}") };
        let recently = |at: Duration| self.now <= at + INTERVAL + SLACK;
        let is_in_trouble = |agent: &usize| {
            let process = self.host.of_agent(*agent).first().map(|process| &self.host.processes[&process.pid]);
            self.known[*agent].failed.is_some_and(recently)
                || process.is_none_or(|process| process.may_be_in_trouble(self.now, GRACE + INTERVAL + SLACK))
        };
        let in_trouble = (0..AGENTS).filter(is_in_trouble).count();
        assert!(bad <= in_trouble, "{reason}, and only {in_trouble} may be");
    }

    fn wanted_policy(&self, agent: usize) -> RestartWhen {
        self.daemon.as_ref().unwrap().get(&id(agent)).unwrap().machine().policy().when
    }

    /// Checks the whole host.
    pub(super) fn check(&self) {
        for agent in 0..AGENTS {
            let copies = self.host.of_agent(agent);
            assert!(copies.len() <= 1, "two copies of {agent}");
            let is_doubled = !copies.is_empty() && self.host.remainders.contains_key(&agent);
            assert!(!is_doubled, "{agent} runs beside what is left of it");
            let Some(daemon) = self.daemon.as_ref().filter(|_| self.stalled.is_none()) else { continue };
            let machine = daemon.get(&id(agent)).unwrap().machine();
            let Some(process) = copies.first().map(|process| &self.host.processes[&process.pid]) else { continue };
            if machine.state() == State::Stopping {
                let longest = StopSettings::default().timeout + KILL_TAKES;
                let overdue = self.now > machine.since().monotonic.max(self.clear_since) + longest + SLACK;
                assert!(!overdue, "{agent} was signalled to end and still runs");
            }
            if self.now > self.verdict_due(agent, process) {
                let acted = match machine.state() {
                    State::Unhealthy => self.wanted_policy(agent) == RestartWhen::Never,
                    State::Starting | State::Running => false,
                    State::Stopped | State::Waiting | State::Stopping | State::Backoff | State::Failed => true,
                };
                let why = daemon.view(self.at(), &id(agent)).unwrap();
                assert!(acted, "{agent} is bad, and nothing is done: {process:?} {why:#?}");
            }
        }
    }

    /// The latest time by which the daemon must act on this process.
    fn verdict_due(&self, agent: usize, process: &Process) -> Duration {
        let within = match process.fault {
            ScriptedFault::None | ScriptedFault::Ends(_) | ScriptedFault::Degraded | ScriptedFault::Hiccup => {
                return Duration::MAX;
            }
            ScriptedFault::Silent => SILENCE,
            ScriptedFault::ServiceFails => INTERVAL * (CheckLimits::default().http_failures - 1),
            ScriptedFault::Hangs | ScriptedFault::Frozen => MAX_AGE,
            ScriptedFault::Torn => Duration::ZERO,
            // The first check starts the period, and the first check after the period ends it.
            ScriptedFault::Hog => HOG + INTERVAL,
        };
        let clear = self.clear_since.max(self.known[agent].clear_since);
        let begins = process.since.max(process.up).max(process.started + GRACE).max(clear + GRACE);
        // One interval until the first check that shows it, and two for a possible hold: its own, and until the check
        // after it.
        let held =
            if self.last_hold.is_some_and(|at| at + INTERVAL * 2 > begins) { INTERVAL * 2 } else { Duration::ZERO };
        begins + within + held + INTERVAL + COLLECTING + SLACK
    }
}
