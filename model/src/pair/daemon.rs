//! The daemon: the product's registry, and around it what `daemon/driver` does with its decisions.

use std::time::Duration;

use ops_agent::testing::daemon::checks::CheckLimits;
use ops_agent::testing::daemon::registry::{AgentAction, AgentId, Decisions, DesiredAgent, HeartbeatFacts, Registry};
use statemachine::supervision::{Effect, Event, Identity, Input, Policy, RestartWhen, State as Supervision};
use statemachine::time::Now;

use super::host::{Kind, boot};
use super::{Action, Broken, Pair, Promise, State, TICK};

pub(super) const AGENT: &str = "agent";

#[derive(Debug, Clone)]
pub(super) struct Daemon {
    pub(super) registry: Registry,
    /// What is still to be carried out, in order.
    steps: Vec<Step>,
    /// The registry has changed, and nothing waits for the disk.
    changed: bool,
    /// A process that was started, of which the loop has not heard yet.
    spawned: Option<Identity>,
    /// Whose end will be told.
    pub(super) watched: Vec<Identity>,
    /// It stands still.
    pub(super) stalled: bool,
    /// It has stood still before.
    has_stalled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Wait for a save.
    Saved,
    Do(Effect, Option<Identity>),
}

impl Daemon {
    const fn new(registry: Registry) -> Self {
        Self {
            registry,
            steps: Vec::new(),
            changed: false,
            spawned: None,
            watched: Vec::new(),
            stalled: false,
            has_stalled: false,
        }
    }

    /// The agent's process, as the daemon knows it.
    pub(super) fn process(&self) -> Option<Identity> {
        self.registry.get(AGENT)?.machine().process()
    }

    /// The newest incarnation that it has heard of.
    pub(super) fn newest(&self) -> Option<u64> {
        self.registry.save(boot()).agents.get(AGENT)?.newest_incarnation
    }

    /// Whether it has nothing left to do at this moment.
    pub(super) fn is_settled(&self, now: Duration) -> bool {
        let due = self.registry.deadline().is_some_and(|at| at <= now);
        self.steps.is_empty() && !self.changed && self.spawned.is_none() && !due
    }

    fn waits_for_disk(&self) -> bool {
        self.changed || self.steps.contains(&Step::Saved)
    }

    /// As `EventLoop::enqueue`: what nothing stands behind, nothing waits for.
    fn enqueue(&mut self, act: &AgentAction) {
        for (place, effect) in act.effects.iter().enumerate() {
            match effect {
                Effect::Record if place + 1 == act.effects.len() => self.changed = true,
                Effect::Record => self.steps.push(Step::Saved),
                Effect::Spawn | Effect::Adopt | Effect::SignalGroup(_) | Effect::SweepGroup => {
                    self.steps.push(Step::Do(*effect, act.process));
                }
            }
        }
    }
}

impl State {
    pub(super) fn daemon_actions(&self, model: &Pair, actions: &mut Vec<Action>) {
        let Some(daemon) = &self.daemon else { return actions.push(Action::DaemonStarts) };
        if self.left.daemon_crashes > 0 {
            actions.push(Action::DaemonDies);
        }
        if daemon.stalled {
            return actions.push(Action::DaemonGoesOn);
        }
        if self.left.stalls > 0 {
            actions.push(Action::DaemonStalls);
        }
        let is_read = model.broken == Broken::JudgesFirst || !self.net.iter().any(|message| message.waits);
        if is_read && daemon.registry.deadline().is_some_and(|at| at <= self.now) {
            actions.push(Action::DaemonTurns);
        }
        if daemon.waits_for_disk() {
            actions.push(Action::DaemonSaves);
            if self.left.disk_failures > 0 {
                actions.push(Action::DaemonFailsToSave);
            }
        }
        if matches!(daemon.steps.first(), Some(Step::Do(..))) {
            actions.push(Action::DaemonCarriesOut);
        }
        if daemon.spawned.is_some() {
            actions.push(Action::DaemonHearsOfStart);
        }
        let ended = daemon.watched.iter().filter(|identity| !self.lives(**identity));
        actions.extend(ended.map(|identity| Action::DaemonHearsOfEnd(identity.pid)));
        if self.left.wishes > 0 {
            actions.extend([Action::OperatorStarts, Action::OperatorStops, Action::OperatorRestarts]);
        }
    }

    /// As `App` does it: open what was saved, look for the processes, and only then decide.
    pub(super) fn daemon_starts(&mut self, model: &Pair) {
        let registry = Registry::open(self.time(), boot(), vec![wanted(model)], self.disk.clone());
        let found = self.find(model, registry.on_record(AGENT));
        for process in &mut self.processes {
            process.unheard = 0;
            process.hangs_for = process.hangs_for.map(|_| 0);
        }
        self.daemon = Some(Daemon::new(registry));
        self.decide(model, |registry, now| registry.found(now, AGENT, found).unwrap_or_default());
    }

    /// The agent's process: the one on record if that is proved, else whoever bears the mark.
    fn find(&self, model: &Pair, on_record: Option<Identity>) -> Option<Identity> {
        let recorded = on_record.filter(|identity| self.lives(*identity));
        let marked = || self.processes.iter().find(|p| p.kind == Kind::Own && !p.ended).map(|p| p.identity);
        match model.broken {
            Broken::NoAdoption => None,
            Broken::NoMarks => recorded,
            Broken::PidAlone => {
                let pid = on_record.map(|identity| identity.pid);
                let holder = self.processes.iter().find(|p| Some(p.identity.pid) == pid && !p.ended);
                holder.map(|p| p.identity).or_else(marked)
            }
            _ => recorded.or_else(marked),
        }
    }

    fn watches(&self, identity: Identity) -> bool {
        let adopt = Step::Do(Effect::Adopt, Some(identity));
        self.daemon.as_ref().is_some_and(|daemon| daemon.watched.contains(&identity) || daemon.steps.contains(&adopt))
    }

    fn lives(&self, identity: Identity) -> bool {
        self.processes.iter().any(|process| process.identity == identity && !process.ended)
    }

    pub(super) fn daemon_dies(&mut self) {
        self.left.daemon_crashes -= 1;
        self.daemon = None;
        self.processes.retain(|process| !process.ended);
        self.processes.iter_mut().for_each(|process| process.child = false);
    }

    pub(super) fn stalled(&mut self, stalled: bool) {
        if let Some(daemon) = &mut self.daemon {
            daemon.stalled = stalled;
            daemon.has_stalled |= stalled;
        }
    }

    /// What is due by now.
    pub(super) fn turn(&mut self, model: &Pair) {
        self.decide(model, Registry::wake);
    }

    /// A tick passes for the daemon, alarm by alarm. `false`: something has to be done before it is over.
    pub(super) fn pass(&mut self, model: &Pair) -> bool {
        let end = self.next_tick();
        match &self.daemon {
            Some(daemon) if daemon.stalled => self.left.stalls -= 1,
            _ => {
                while let Some(at) = self.daemon.as_ref().and_then(|d| d.registry.deadline()).filter(|at| *at < end) {
                    self.now = at;
                    self.turn(model);
                    if self.daemon.as_ref().is_some_and(|daemon| !daemon.is_settled(at)) {
                        return false;
                    }
                }
            }
        }
        self.now = end;
        true
    }

    /// A save has ended, well or badly: either way, what waited for it goes on.
    pub(super) fn saved(&mut self, well: bool) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.changed = false;
        daemon.steps.retain(|step| *step != Step::Saved);
        if well {
            self.disk = Some(daemon.registry.save(boot()));
        } else {
            self.left.disk_failures -= 1;
        }
    }

    /// The next effect.
    pub(super) fn carry_out(&mut self, model: &Pair) {
        let Some(daemon) = &mut self.daemon else { return };
        let Step::Do(effect, process) = daemon.steps.remove(0) else { return };
        match (effect, process) {
            (Effect::Spawn, _) => self.spawn(model),
            (Effect::Adopt, Some(process)) => {
                model.count(|seen| &seen.adopted);
                if model.broken != Broken::AdoptsBlindly {
                    daemon.watched.push(process);
                }
            }
            (Effect::SignalGroup(signal), Some(process)) => self.signal(process, signal),
            (Effect::SweepGroup, Some(process)) => self.processes.retain(|p| p.identity != process || !p.ended),
            (Effect::Adopt | Effect::SignalGroup(_) | Effect::SweepGroup, None) | (Effect::Record, _) => {}
        }
    }

    fn spawn(&mut self, model: &Pair) {
        model.count(|seen| &seen.started);
        if self.processes.iter().any(|process| process.kind == Kind::Own && !process.ended) {
            self.loses(Promise::OneCopy);
        }
        self.incarnation += 1;
        let identity = self.start(model, Kind::Own, self.incarnation);
        if let Some(daemon) = &mut self.daemon {
            daemon.spawned = Some(identity);
        }
    }

    pub(super) fn told_of_start(&mut self, model: &Pair) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some(process) = daemon.spawned.take() else { return };
        daemon.watched.push(process);
        self.tell(model, Input::Spawned(process));
    }

    pub(super) fn told_of_end(&mut self, model: &Pair, pid: u32) {
        let ended = |identity: &Identity| identity.pid == pid && !self.lives(*identity);
        let Some(place) = self.daemon.as_ref().and_then(|daemon| daemon.watched.iter().position(ended)) else { return };
        let Some(daemon) = &mut self.daemon else { return };
        let process = daemon.watched.remove(place);
        let own = daemon.process() == Some(process);
        let left = self.processes.iter().find(|other| other.identity == process);
        let exit = left.map_or(statemachine::supervision::Exit::Unseen, |left| left.exit);
        if own {
            self.tell(model, Input::Exited(process, exit));
        } else {
            self.processes.retain(|other| other.identity != process);
        }
    }

    pub(super) fn command(&mut self, model: &Pair, action: Action) {
        self.left.wishes -= 1;
        let by = "operator".to_owned();
        self.tell(
            model,
            match action {
                Action::OperatorStops => Input::StopRequested(by),
                Action::OperatorRestarts => Input::RestartRequested(by),
                _ => Input::StartRequested(by),
            },
        );
    }

    /// A heartbeat reaches the daemon.
    pub(super) fn delivered(&mut self, model: &Pair, place: usize, twice: bool) {
        let message = self.net[place].clone();
        if twice {
            self.left.duplicates -= 1;
        } else {
            self.net.remove(place);
        }
        let own = self.daemon.as_ref().and_then(Daemon::process);
        let pid = match model.broken {
            Broken::AnyPid => own.map_or(message.pid, |own| own.pid),
            _ => message.pid,
        };
        let incarnation = (model.broken != Broken::NoIncarnation).then_some(message.incarnation);
        let beat = HeartbeatFacts { pid, incarnation, degraded: message.degraded };
        let mut accepted = false;
        self.decide(model, |registry, now| {
            let heard = registry.heard(now, AGENT, &beat);
            accepted = heard.is_ok();
            heard.unwrap_or_default()
        });
        // Whose end is about to be told is kept alive by nobody.
        let about_to_be_told = own.is_some_and(|own| !self.lives(own) && self.watches(own));
        if accepted && message.sender != own && !about_to_be_told {
            self.loses(Promise::StraysDoNotCount);
        }
        model.count(if accepted { |seen| &seen.accepted } else { |seen| &seen.refused });
        self.reply(&message, accepted);
    }

    fn tell(&mut self, model: &Pair, input: Input) {
        self.decide(model, |registry, now| registry.tell(now, AGENT, input).unwrap_or_default());
    }

    /// As `SharedRegistry::decide`: the daemon first looks whether it was blind.
    fn decide(&mut self, model: &Pair, decide: impl FnOnce(&mut Registry, Now) -> Decisions) {
        let now = self.time();
        let Some(daemon) = &mut self.daemon else { return };
        let doubts = daemon.registry.notice(now, now.monotonic).is_some();
        let unfounded = doubts && !daemon.has_stalled;
        let outcome = decide(&mut daemon.registry, now);
        outcome.actions.iter().for_each(|act| daemon.enqueue(act));
        if doubts {
            model.count(|seen| &seen.held);
        }
        if unfounded {
            self.loses(Promise::DoubtHasAReason);
        }
        if !outcome.refused.is_empty() {
            self.loses(Promise::NothingIsRefused);
        }
        for act in &outcome.actions {
            let Some(moved) = &act.transition else { continue };
            if moved.to == Supervision::Failed {
                model.count(|seen| &seen.given_up);
            }
            if moved.event == Event::Condemned {
                model.count(|seen| &seen.condemned);
                let well = |process: &super::Process| Some(process.identity) == act.process && process.turns();
                if self.processes.iter().any(well) {
                    self.loses(Promise::HealthIsLeftAlone);
                }
            }
        }
    }
}

/// The defaults, but for a grace of one tick, and fewer and shorter waits.
fn wanted(model: &Pair) -> DesiredAgent {
    let heartbeat_timeout = match model.broken {
        Broken::NeverExpires => None,
        Broken::Impatient => Some(TICK * 2),
        _ => CheckLimits::default().heartbeat_timeout,
    };
    DesiredAgent {
        id: AgentId::from(AGENT),
        enabled: true,
        policy: Policy { when: RestartWhen::Always, max_retries: 2, backoff_base: TICK, backoff_max: TICK },
        limits: CheckLimits {
            interval: TICK,
            start_grace: TICK,
            heartbeat_timeout,
            cpu_percent: None,
            memory_bytes: None,
            ..CheckLimits::default()
        },
        fingerprint: 1,
    }
}
