//! The daemon's event loop in the simulation: it performs what the registry decides, and nothing else.

use std::time::Duration;

use ops_agent::testing::daemon::checks::{CheckResult, SampleError, StatusFileResult};
use ops_agent::testing::daemon::registry::{
    AgentAction, AgentId, Decisions, HeartbeatFacts, Proof, Registry, Rejected, decode, encode,
};
use statemachine::supervision::{EXIT_CONFIG, Effect, Exit, Identity, Input, State};

use super::host::ScriptedFault;
use super::service_check::{Service, ServiceCheck};
use super::simulation::{AGENTS, DaemonEvent, Effects, GRACE, HostEvent, id, number};

/// The time from SIGKILL to the report of what is left.
const KILL_REPORTED: Duration = Duration::from_secs(10);

impl Effects {
    pub(super) fn start_daemon(&mut self) {
        let saved = self.disk.as_ref().map(|saved| decode(&encode(saved).unwrap()).unwrap());
        let mut daemon = Registry::open(self.at(), self.host.boot, self.wanted.clone(), saved.clone(), &[]);
        assert_eq!(daemon.on_wakeup(self.at(), self.boottime(), |_| Duration::ZERO), None);
        self.daemon = Some(daemon);
        self.clear_since = self.now;
        self.last_hold = None;
        self.last_mass_failure = None;
        let generation = self.generation;
        // Of all agents, before the first save of this daemon.
        self.known.iter_mut().for_each(|known| (known.asked_down, known.given_up) = known.saved);
        for agent in 0..AGENTS {
            let was = saved.as_ref().and_then(|saved| saved.agents.get(&*id(agent)));
            let known = &mut self.known[agent];
            // The next daemon does not know when the agent failed.
            known.failed = None;
            if !self.wanted[agent].enabled {
                known.asked_down = true;
            } else if was.is_none_or(|was| !was.enabled) {
                (known.asked_down, known.given_up) = (false, false);
            } else if was.is_some_and(|was| was.fingerprint != self.wanted[agent].fingerprint) {
                known.given_up = false;
            }
            let left = self.host.remainders.get(&agent).cloned();
            let alive = self.host.of_agent(agent).first().copied().or(left.as_ref().map(|left| left.main));
            let now = self.at();
            let outcome = self.daemon.as_mut().unwrap().found(now, &id(agent), alive).unwrap();
            if alive.is_some() {
                self.adopted += 1;
                assert!(
                    !outcome.actions.iter().any(|action| action.effects.contains(&Effect::Spawn)),
                    "{agent} doubled"
                );
            }
            self.perform(outcome);
            if self.generation != generation {
                return;
            }
            if let Some(left) = left {
                // The next daemon cannot see how the main process of an earlier one ended.
                self.tell(20, DaemonEvent::MainGone(agent, left.main, Exit::Unseen, left.left));
                if let Some(remainder) = self.host.remainders.get_mut(&agent) {
                    remainder.exit = Exit::Unseen;
                }
            }
        }
    }

    /// One iteration of the loop, in the order that the registry requires.
    pub(super) fn step(&mut self, message: Option<DaemonEvent>) {
        let (now, boottime) = (self.at(), self.boottime());
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.on_wakeup(now, boottime, |_| Duration::ZERO).is_some() {
            self.hold_restarts();
        }
        if let Some(message) = message {
            let outcome = self.take(message);
            self.perform(outcome);
        }
        if let Some(daemon) = &mut self.daemon {
            let outcome = daemon.expire(now);
            self.perform(outcome);
        }
    }

    fn take(&mut self, message: DaemonEvent) -> Decisions {
        let now = self.at();
        let daemon = self.daemon.as_mut().unwrap();
        match message {
            DaemonEvent::Spawned(agent, process) => daemon.handle(now, &id(agent), Input::Spawned(process)).unwrap(),
            DaemonEvent::SpawnFailed(agent, own_fault) => {
                self.known[agent].died = self.now;
                let input = Input::SpawnFailed { reason: "no such file".to_owned(), own_fault };
                daemon.handle(now, &id(agent), input).unwrap()
            }
            DaemonEvent::MainGone(agent, main, exit, left) => self.main_gone(agent, main, exit, left),
            DaemonEvent::Exited(agent, process, exit) => self.process_exited(agent, process, exit),
            DaemonEvent::Checked(agent, process, begun, finding) => {
                // The daemon's own deadline, which includes a stall of the daemon.
                let check = ServiceCheck::of(agent);
                let is_of_service = !matches!(finding, CheckResult::StatusFile(_) | CheckResult::Resources(_));
                let given_up = check.given_up(self.now - begun).filter(|_| is_of_service);
                let finding = given_up.unwrap_or(finding);
                daemon.on_check_result(now, &id(agent), process, begun, finding)
            }
            DaemonEvent::HeartbeatFacts(agent, heartbeat) => self.receive(agent, heartbeat),
            DaemonEvent::Unkillable(agent, process) => {
                self.unkillable += 1;
                let input = Input::Unkillable { process, left: "pid 2 (state D)".to_owned() };
                daemon.handle(now, &id(agent), input).unwrap()
            }
            DaemonEvent::Command(agent, input) => {
                let is_start = matches!(input, Input::StartRequested(_) | Input::RestartRequested(_));
                if is_start && daemon.get(&id(agent)).unwrap().machine().remainder().is_some() {
                    // The API refuses it.
                    return Decisions::default();
                }
                let known = &mut self.known[agent];
                known.asked_down = matches!(input, Input::StopRequested(_));
                known.given_up = false;
                daemon.handle(now, &id(agent), input).unwrap()
            }
            DaemonEvent::Reload => self.reload(),
        }
    }

    fn main_gone(&mut self, agent: usize, main: Identity, exit: Exit, left: usize) -> Decisions {
        let now = self.at();
        let daemon = self.daemon.as_mut().unwrap();
        let own = daemon.get(&id(agent)).unwrap().machine().process() == Some(main);
        let outcome = daemon.main_gone(now, &id(agent), main, exit, left);
        if own {
            let state = daemon.get(&id(agent)).unwrap().machine().state();
            assert_eq!(state, State::Stopping, "{agent} has {left} processes left");
        }
        outcome
    }

    fn process_exited(&mut self, agent: usize, process: Identity, exit: Exit) -> Decisions {
        let now = self.at();
        let daemon = self.daemon.as_mut().unwrap();
        let own = daemon.get(&id(agent)).unwrap().machine().process() == Some(process);
        let outcome = daemon.handle(now, &id(agent), Input::Exited(process, exit)).unwrap();
        let machine = daemon.get(&id(agent)).unwrap().machine();
        if own {
            let down = matches!(machine.state(), State::Stopped | State::Failed | State::Backoff);
            assert!(down, "{agent} is gone, and {:?}", machine.state());
            assert_eq!(machine.state() == State::Stopped && !machine.wanted(), self.known[agent].asked_down);
            assert!(machine.state() == State::Failed || !machine.wanted() || exit != Exit::Code(EXIT_CONFIG.into()));
        }
        outcome
    }

    /// Applies the present configuration. Unchanged agents are not touched.
    fn reload(&mut self) -> Decisions {
        let now = self.at();
        let daemon = self.daemon.as_mut().unwrap();
        let mut unchanged = Vec::new();
        for (known, wanted) in self.known.iter_mut().zip(&self.wanted) {
            let entry = daemon.get(&wanted.id).unwrap();
            if entry.enabled != wanted.enabled {
                known.asked_down = !wanted.enabled;
                known.given_up = false;
            } else if entry.fingerprint != wanted.fingerprint {
                known.given_up = false;
            } else {
                unchanged.push(AgentId::clone(&wanted.id));
            }
        }
        let outcome = daemon.reload(now, self.wanted.clone());
        let touched = |action: &AgentAction| unchanged.contains(&action.id);
        assert!(!outcome.actions.iter().any(touched), "an unchanged agent was touched");
        outcome
    }

    fn receive(&mut self, agent: usize, heartbeat: HeartbeatFacts) -> Decisions {
        let now = self.at();
        let daemon = self.daemon.as_mut().unwrap();
        let Some(entry) = daemon.get(&id(agent)) else {
            assert_eq!(daemon.on_heartbeat(now, &id(agent), &heartbeat), Err(Rejected::UnknownAgent));
            return Decisions::default();
        };
        let (want, rejected) = (entry.machine().process().map(|want| want.pid), entry.rejected());
        // The secret proves that a process of the present start has sent it.
        let is_proved = heartbeat.proof == Proof::Proved && want == Some(heartbeat.pid);
        let proof = if is_proved || heartbeat.proof == Proof::Named { heartbeat.proof } else { Proof::Nothing };
        let heartbeat = HeartbeatFacts { proof, ..heartbeat };
        let is_newest = heartbeat.incarnation != Some(0) && heartbeat.proof == Proof::Proved;
        let own = want == Some(heartbeat.pid) && is_newest;
        match daemon.on_heartbeat(now, &id(agent), &heartbeat) {
            Ok(outcome) => {
                assert_eq!(want, Some(heartbeat.pid), "{agent} was heard of by another process");
                assert_ne!(heartbeat.proof, Proof::Nothing);
                outcome
            }
            Err(why) => {
                assert!(!own, "{agent} itself: {why}");
                assert_eq!(daemon.get(&id(agent)).unwrap().rejected(), rejected + 1);
                Decisions::default()
            }
        }
    }

    pub(super) fn perform(&mut self, outcome: Decisions) {
        assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
        let generation = self.generation;
        for action in outcome.actions {
            self.watch(&action);
            for effect in action.effects {
                if self.rng.u32(0..400) == 0 {
                    self.kill_daemon();
                }
                if self.generation != generation {
                    return;
                }
                self.carry_out(&action, *effect);
            }
        }
        if let Some(hold) = outcome.hold {
            self.watch_mass_failure(hold.reason);
            self.hold_restarts();
            self.last_mass_failure = Some(self.now);
        }
        for (agent, process) in outcome.due {
            self.look(number(&agent), process);
        }
    }

    fn carry_out(&mut self, action: &AgentAction, effect: Effect) {
        match effect {
            Effect::Record => {
                self.disk = Some(self.daemon.as_ref().unwrap().save(self.host.boot));
                self.known.iter_mut().for_each(|known| known.saved = (known.asked_down, known.given_up));
            }
            Effect::Spawn => self.spawn(number(&action.id)),
            Effect::StopTree => {
                let agent = number(&action.id);
                let remainder = self.host.remainders.get(&agent).filter(|left| Some(left.main) == action.process);
                if let Some((main, takes)) = remainder.and_then(|left| Some((left.main, left.ends_within()?))) {
                    self.queue_at(self.now + takes, HostEvent::RemainderEnds(agent, main));
                }
                let end = action.process.and_then(|process| Some((process, self.host.stopped_at(self.now, process)?)));
                if let Some((process, at)) = end {
                    self.queue_at(at, HostEvent::Ends(process, Exit::Code(0)));
                }
            }
            Effect::KillTree => {
                let (agent, Some(process)) = (number(&action.id), action.process) else { return };
                // A process in an uninterruptible wait ends when the wait does.
                let is_late = self.rng.u32(0..8) == 0;
                let at = self.now + Duration::from_secs(if is_late { self.rng.u64(0..120) } else { 0 });
                self.queue_at(at, HostEvent::RemainderEnds(agent, process));
                self.queue_at(at, HostEvent::Ends(process, Exit::Signal(9)));
                let reported = self.now + KILL_REPORTED;
                self.queue_at(reported, HostEvent::KillReported(self.generation, agent, process));
            }
            Effect::Adopt => {
                let remainder = self.host.remainders.get(&number(&action.id)).map(|left| left.main);
                assert!(action.process.is_some_and(|process| self.host.is(process) || remainder == Some(process)));
            }
            Effect::Reap => {}
        }
    }

    fn spawn(&mut self, agent: usize) {
        assert_eq!(self.host.of_agent(agent), [], "a second copy of {agent}");
        assert!(!self.host.remainders.contains_key(&agent), "{agent} is started beside what is left of it");
        assert!(!self.known[agent].asked_down, "{agent} was stopped, and is started");
        assert!(!self.known[agent].given_up, "{agent} was given up, and is started");
        let own_fault = self.rng.u32(0..20) == 0;
        if own_fault || self.rng.u32(0..20) == 0 {
            return self.tell(50, DaemonEvent::SpawnFailed(agent, own_fault));
        }
        let process = self.host.spawn(self.now, Some(agent), &mut self.rng, GRACE);
        let born = &self.host.processes[&process.pid];
        let (fault, since, up) = (born.fault, born.since, born.up);
        if let ScriptedFault::Ends(exit) = fault {
            self.queue_at(since, HostEvent::Ends(process, exit));
        }
        self.queue_at(up, HostEvent::HeartbeatDue(process));
        self.tell(50, DaemonEvent::Spawned(agent, process));
    }

    /// Starts every check of an agent. The results arrive later.
    fn look(&mut self, agent: usize, process: Identity) {
        let now = self.now;
        let Some(seen) = self.host.processes.get(&process.pid).filter(|seen| seen.identity == process).cloned() else {
            return;
        };
        let mut status = seen.status_file(now);
        if let StatusFileResult::Read(facts) = &mut status
            && let Some(age) = &mut facts.age
        {
            // The clock behind a file's age runs during a suspend.
            let written = now - *age;
            *age += self.sleeps.iter().filter(|(at, _)| *at >= written).map(|(_, slept)| *slept).sum::<Duration>();
        }
        let (check, service) = (ServiceCheck::of(agent), seen.service(now));
        let late = if service == Service::Hangs { 5000 } else { 200 };
        let findings = [
            (late, check.result(service), check.not_tried()),
            (
                200,
                CheckResult::StatusFile(status),
                CheckResult::StatusFile(StatusFileResult::NotRead("too many open files".to_owned())),
            ),
            (
                200,
                CheckResult::Resources(Ok(seen.usage(now))),
                CheckResult::Resources(Err(SampleError::Unreadable("too many open files".to_owned()))),
            ),
        ];
        for (late, finding, unknown) in findings {
            let blind = self.rng.u32(0..50) == 0;
            if blind {
                self.known[agent].clear_since = now;
            }
            let delay = if late == 5000 { late } else { self.rng.u64(0..late) };
            let finding = if blind { unknown } else { finding };
            let message = DaemonEvent::Checked(agent, process, now, finding);
            self.after(delay, HostEvent::ToDaemon(self.generation, message));
        }
    }
}
