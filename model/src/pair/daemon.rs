//! The daemon: the product's registry, and a model of how the daemon's event loop performs the registry's decisions.

use std::time::Duration;

use ops_agent::testing::daemon::checks::CheckLimits;
use ops_agent::testing::daemon::registry::{
    AgentAction, AgentId, Decisions, DesiredAgent, HeartbeatFacts, Proof, Registry,
};
use statemachine::supervision::{
    Effect, Event, Exit, Identity, Input, Policy, Reason, ReasonCode, RestartWhen, State as Supervision, StopSettings,
};
use statemachine::time::Now;

use super::state::{AGENT, Daemon, Kind, Pending, Process, State, boot};
use super::types::{Action, Defect, Invariant, Pair, TICK};

impl Daemon {
    const fn new(registry: Registry) -> Self {
        Self {
            registry,
            pending: Vec::new(),
            changed: false,
            spawned: None,
            watched: Vec::new(),
            remainders: Vec::new(),
            stalled: false,
            has_stalled: false,
        }
    }

    fn waits_for_disk(&self) -> bool {
        self.changed || self.pending.contains(&Pending::Save)
    }

    /// As `EventLoop::enqueue`: an effect waits for a save only if it comes after the `Record`.
    fn enqueue(&mut self, action: &AgentAction) {
        for (index, effect) in action.effects.iter().enumerate() {
            match effect {
                Effect::Record if index + 1 == action.effects.len() => self.changed = true,
                Effect::Record => self.pending.push(Pending::Save),
                Effect::Spawn | Effect::Adopt | Effect::StopTree | Effect::KillTree | Effect::Reap => {
                    self.pending.push(Pending::Perform(*effect, action.process));
                }
            }
        }
    }
}

impl State {
    pub(super) fn daemon_actions(&self, model: &Pair, actions: &mut Vec<Action>) {
        let Some(daemon) = &self.daemon else { return actions.push(Action::DaemonStarts) };
        if self.left.daemon_crashes > 0 {
            actions.push(Action::DaemonCrashes);
        }
        if daemon.stalled {
            return actions.push(Action::DaemonResumes);
        }
        if self.left.stalls > 0 {
            actions.push(Action::DaemonStalls);
        }
        let is_read = model.defect == Defect::JudgesBeforeReading || !self.net.iter().any(|message| message.waits);
        if is_read && daemon.registry.deadline().is_some_and(|at| at <= self.now) {
            actions.push(Action::DaemonWakes);
        }
        if daemon.waits_for_disk() {
            actions.push(Action::DaemonSaves);
            if self.left.disk_failures > 0 {
                actions.push(Action::DaemonFailsToSave);
            }
        }
        if matches!(daemon.pending.first(), Some(Pending::Perform(..))) {
            actions.push(Action::DaemonPerforms);
        }
        if daemon.spawned.is_some() {
            actions.push(Action::StartIsReported);
        }
        let ended = daemon.watched.iter().filter(|identity| !self.lives(**identity));
        actions.extend(ended.map(|identity| Action::ExitIsReported(identity.pid)));
        let emptied = daemon.remainders.iter().filter(|(main, _)| !self.has_helper(*main));
        actions.extend(emptied.map(|(main, _)| Action::TreeEndIsReported(main.pid)));
        if self.left.commands > 0 {
            actions.extend([Action::OperatorStarts, Action::OperatorStops, Action::OperatorRestarts]);
        }
    }

    /// As the daemon's `App`: open the saved registry, find the processes, and decide after that.
    pub(super) fn start_daemon(&mut self, model: &Pair) {
        let registry = Registry::open(self.time(), boot(), vec![desired(model)], self.disk.clone(), &[]);
        let found = self.find(model, registry.recorded_process(AGENT));
        for process in &mut self.processes {
            process.silent_for = 0;
            process.hangs_for = process.hangs_for.map(|_| 0);
        }
        self.daemon = Some(Daemon::new(registry));
        self.decide(model, |registry, now| registry.found(now, AGENT, found).unwrap_or_default());
    }

    /// The agent's process: the one on record if it still lives, else one that has the supervision tag.
    fn find(&self, model: &Pair, on_record: Option<Identity>) -> Option<Identity> {
        let recorded = on_record.filter(|identity| self.lives(*identity));
        let is_tagged = |process: &&Process| process.kind == Kind::Supervised && !process.ended;
        let tagged = || self.processes.iter().find(is_tagged).map(|process| process.identity);
        // What the last start has left is its tree.
        let left = self.recorded.filter(|main| self.has_helper(*main));
        match model.defect {
            Defect::NoAdoption => None,
            Defect::NoSupervisionTags => recorded,
            Defect::TrustsPid => {
                let pid = on_record.map(|identity| identity.pid);
                let holder = self.processes.iter().find(|p| Some(p.identity.pid) == pid && !p.ended);
                holder.map(|p| p.identity).or_else(tagged)
            }
            Defect::ForgetsHelpers => recorded.or_else(tagged),
            _ => recorded.or(left).or_else(tagged),
        }
    }

    pub(super) fn crash_daemon(&mut self) {
        self.left.daemon_crashes -= 1;
        self.daemon = None;
        self.processes.retain(|process| !process.ended);
        self.processes.iter_mut().for_each(|process| process.child = false);
    }

    pub(super) fn set_stalled(&mut self, stalled: bool) {
        if let Some(daemon) = &mut self.daemon {
            daemon.stalled = stalled;
            daemon.has_stalled |= stalled;
        }
    }

    /// The daemon handles its deadlines.
    pub(super) fn wake(&mut self, model: &Pair) {
        self.decide(model, Registry::expire);
    }

    /// A save has ended. What waited for it continues, even after a failure.
    pub(super) fn saved(&mut self, succeeded: bool) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.changed = false;
        daemon.pending.retain(|action| *action != Pending::Save);
        if succeeded {
            self.disk = Some(daemon.registry.save(boot()));
        } else {
            self.left.disk_failures -= 1;
        }
    }

    /// The daemon performs the next pending effect.
    pub(super) fn perform(&mut self, model: &Pair) {
        let Some(daemon) = &mut self.daemon else { return };
        let Pending::Perform(effect, process) = daemon.pending.remove(0) else { return };
        match (effect, process) {
            (Effect::Spawn, _) => self.spawn(model),
            (Effect::Adopt, Some(process)) => {
                model.count(|counters| &counters.adopted);
                if model.defect != Defect::AdoptsUnwatched {
                    daemon.watched.push(process);
                }
            }
            (Effect::StopTree, Some(process)) => self.stop(process),
            (Effect::KillTree, Some(process)) => self.kill(process),
            (Effect::Reap, Some(process)) => self.processes.retain(|p| p.identity != process || !p.ended),
            (Effect::Adopt | Effect::StopTree | Effect::KillTree | Effect::Reap, None) | (Effect::Record, _) => {}
        }
    }

    fn spawn(&mut self, model: &Pair) {
        model.count(|counters| &counters.started);
        if self.processes.iter().any(|process| process.kind == Kind::Supervised && !process.ended) {
            self.violate(Invariant::OneCopy);
        }
        if self.processes.iter().any(|process| process.kind == Kind::Helper && !process.ended) {
            self.violate(Invariant::TreesEndWhole);
        }
        self.incarnation += 1;
        let identity = self.start(Kind::Supervised, self.incarnation);
        self.recorded = Some(identity);
        if let Some(daemon) = &mut self.daemon {
            daemon.spawned = Some(identity);
        }
    }

    pub(super) fn report_start(&mut self, model: &Pair) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some(process) = daemon.spawned.take() else { return };
        daemon.watched.push(process);
        self.input(model, Input::Spawned(process));
    }

    pub(super) fn report_exit(&mut self, model: &Pair, pid: u32) {
        let ended = |identity: &Identity| identity.pid == pid && !self.lives(*identity);
        let Some(index) = self.daemon.as_ref().and_then(|daemon| daemon.watched.iter().position(ended)) else { return };
        let Some(daemon) = &mut self.daemon else { return };
        let process = daemon.watched.remove(index);
        let ended = self.processes.iter().find(|other| other.identity == process);
        let exit = ended.map_or(Exit::Unseen, |ended| ended.exit);
        if model.defect == Defect::ForgetsHelpers || !self.has_helper(process) {
            return self.tree_ended(model, process, exit);
        }
        model.count(|counters| &counters.remainders);
        let Some(daemon) = &mut self.daemon else { return };
        daemon.remainders.push((process, exit));
        if daemon.process() == Some(process) {
            self.decide(model, |registry, now| registry.main_gone(now, AGENT, process, exit, 1));
        } else {
            self.kill(process);
        }
    }

    pub(super) fn report_end_of_tree(&mut self, model: &Pair, pid: u32) {
        let is_it = |(main, _): &(Identity, Exit)| main.pid == pid && !self.has_helper(*main);
        let Some(daemon) = &self.daemon else { return };
        let Some(index) = daemon.remainders.iter().position(is_it) else { return };
        let Some(daemon) = &mut self.daemon else { return };
        let (main, exit) = daemon.remainders.remove(index);
        self.tree_ended(model, main, exit);
    }

    fn tree_ended(&mut self, model: &Pair, main: Identity, exit: Exit) {
        if self.daemon.as_ref().and_then(Daemon::process) == Some(main) {
            self.input(model, Input::Exited(main, exit));
        } else {
            self.processes.retain(|other| other.identity != main);
        }
    }

    pub(super) fn command(&mut self, model: &Pair, action: Action) {
        self.left.commands -= 1;
        let by = |code| Reason::new(code, "operator");
        self.input(
            model,
            match action {
                Action::OperatorStops => Input::StopRequested(by(ReasonCode::StopCommand)),
                Action::OperatorRestarts => Input::RestartRequested(by(ReasonCode::RestartCommand)),
                _ => Input::StartRequested(by(ReasonCode::StartCommand)),
            },
        );
    }

    /// A heartbeat reaches the daemon.
    pub(super) fn deliver(&mut self, model: &Pair, index: usize, twice: bool) {
        let message = self.net[index].clone();
        if twice {
            self.left.duplicates -= 1;
        } else {
            self.net.remove(index);
        }
        let own = self.daemon.as_ref().and_then(Daemon::process);
        let pid = match model.defect {
            Defect::AcceptsAnyPid => own.map_or(message.pid, |own| own.pid),
            _ => message.pid,
        };
        // Only the agent's present process has the secret of its start.
        let is_proved = match model.defect {
            Defect::AcceptsAnyPid | Defect::IgnoresSecret => own.is_some_and(|own| own.pid == pid),
            _ => own.is_some() && message.sender == own,
        };
        let proof = if is_proved { Proof::Proved } else { Proof::Nothing };
        let incarnation = (model.defect != Defect::IgnoresSecret).then_some(message.incarnation);
        let heartbeat = HeartbeatFacts { pid, incarnation, degraded: message.degraded, proof };
        let mut accepted = false;
        self.decide(model, |registry, now| {
            let heard = registry.on_heartbeat(now, AGENT, &heartbeat);
            accepted = heard.is_ok();
            heard.unwrap_or_default()
        });
        // After the exit of a watched process the daemon gets the report, so one more heartbeat changes nothing.
        let exit_is_due = own.is_some_and(|own| !self.lives(own) && self.watches(own));
        if accepted && message.sender != own && !exit_is_due {
            self.violate(Invariant::OnlyOwnHeartbeatsCount);
        }
        model.count(if accepted { |counters| &counters.accepted } else { |counters| &counters.refused });
        self.respond(&message, accepted);
    }

    fn watches(&self, identity: Identity) -> bool {
        let adopt = Pending::Perform(Effect::Adopt, Some(identity));
        self.daemon.as_ref().is_some_and(|daemon| daemon.watched.contains(&identity) || daemon.pending.contains(&adopt))
    }

    fn input(&mut self, model: &Pair, input: Input) {
        self.decide(model, |registry, now| registry.handle(now, AGENT, input).unwrap_or_default());
    }

    /// As `SharedRegistry::decide`: the registry first learns whether the daemon has stalled.
    pub(super) fn decide(&mut self, model: &Pair, decide: impl FnOnce(&mut Registry, Now) -> Decisions) {
        let now = self.time();
        let Some(daemon) = &mut self.daemon else { return };
        let holds = daemon.registry.on_wakeup(now, now.monotonic, |_| Duration::ZERO).is_some();
        let has_stalled = daemon.has_stalled;
        let decisions = decide(&mut daemon.registry, now);
        decisions.actions.iter().for_each(|action| daemon.enqueue(action));
        if holds {
            model.count(|counters| &counters.held);
            if !has_stalled {
                self.violate(Invariant::HoldsHaveAReason);
            }
        }
        if !decisions.refused.is_empty() {
            self.violate(Invariant::NothingIsRefused);
        }
        for action in &decisions.actions {
            let Some(transition) = &action.transition else { continue };
            if transition.to == Supervision::Failed {
                model.count(|counters| &counters.given_up);
            }
            if transition.event == Event::Condemned {
                model.count(|counters| &counters.condemned);
                let is_healthy = |process: &Process| Some(process.identity) == action.process && process.is_running();
                if self.processes.iter().any(is_healthy) {
                    self.violate(Invariant::HealthyIsLeftAlone);
                }
            }
        }
        for (_, process) in decisions.due {
            self.check_service(model, process);
        }
    }
}

/// The defaults with start and stop times of one tick, fewer restarts and shorter backoff.
fn desired(model: &Pair) -> DesiredAgent {
    let heartbeat_timeout = match model.defect {
        Defect::NoHeartbeatTimeout => None,
        Defect::ShortHeartbeatTimeout => Some(TICK * 2),
        _ => CheckLimits::default().heartbeat_timeout,
    };
    let limits = CheckLimits {
        interval: TICK,
        start_grace: TICK,
        heartbeat_timeout,
        cpu_percent: None,
        memory_bytes: None,
        ..CheckLimits::default()
    };
    DesiredAgent {
        id: AgentId::from(AGENT),
        enabled: true,
        depends_on: Box::default(),
        policy: Policy {
            when: RestartWhen::Always,
            max_retries: 2,
            backoff_base: TICK,
            backoff_max: TICK,
            stop: StopSettings { timeout: TICK, hung_timeout: TICK, ..StopSettings::default() },
            ..Policy::default()
        },
        limits: match model.service {
            Some(service) => service.limits(limits),
            None => limits,
        },
        fingerprint: 1,
    }
}
