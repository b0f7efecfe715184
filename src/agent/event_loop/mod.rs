//! The only loop. One arrival in, its effects out, in order; nothing else moves the agent.
//!
//! Whatever may take time runs beside the loop as a task and comes back as a [`LoopEvent`]. Time and the world are
//! parameters, so a test runs a year of faults in seconds.

pub(crate) mod attempt;
pub(crate) mod events;
pub(crate) mod perform;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use smol::channel::{Receiver, Sender};
use smol::{LocalExecutor, Task};
use statemachine::lifecycle::{Effect, ExitKind, FaultName, Input, Machine, Part, State, Transition};

use super::effects::{Effects, Notice, Settings};
use super::heartbeat::scheduler::{DeliveryResult, HeartbeatScheduler};
use super::metrics::AgentMetrics;
use super::reload::{ReloadError, ReloadRequest};
use super::snapshot::{HeartbeatView, Published, Snapshot, Usage};
use super::write_barrier::WriteBarrier;
use ops_runtime::clock::Clock;
use ops_runtime::event_loop::{WatchdogTimer, next_event};

/// What comes in: from inputs, and from tasks that carried out an effect.
#[derive(Debug)]
pub enum LoopEvent {
    /// A required part works.
    Proved(Part),
    /// Something is wrong.
    Raised(FaultName, String),
    /// It no longer is.
    Cleared(FaultName),
    /// The start cannot succeed.
    StartFailed(String),
    /// Somebody asked for the end.
    StopRequested(String),
    /// Somebody asked for a reload.
    ReloadRequested(ReloadRequest),
    /// A write of the status file ended.
    Written(Result<(), String>),
    /// An attempt at a heartbeat ended.
    Answered(DeliveryResult),
    /// A reload ended.
    Reloaded(Result<Settings, ReloadError>),
    /// The last heartbeat is out or given up, and no request is in flight.
    Drained,
}

/// What the driver is made of.
#[derive(Debug)]
pub struct EventLoopConfig<C, W> {
    /// The clocks.
    pub clock: C,
    /// Carries out effects.
    pub system: Rc<W>,
    /// Runs what takes time.
    pub executor: Rc<LocalExecutor<'static>>,
    /// Where the machine begins.
    pub machine: Machine,
    /// The pace of heartbeats, silent so far. `None`: standalone.
    pub scheduler: Option<HeartbeatScheduler>,
    /// Where everybody else reads. Its first snapshot says who this is.
    pub published: Published,
    /// What is counted.
    pub metrics: AgentMetrics,
    /// How often the service manager wants to hear that the loop turns.
    pub watchdog: Option<Duration>,
    /// The randomness of the jitter.
    pub rng: fastrand::Rng,
}

/// The loop and all that it owns.
#[derive(Debug)]
pub struct EventLoop<C, W> {
    clock: C,
    system: Rc<W>,
    executor: Rc<LocalExecutor<'static>>,
    inbox: Receiver<LoopEvent>,
    outbox: Sender<LoopEvent>,
    machine: Machine,
    scheduler: Option<HeartbeatScheduler>,
    barrier: WriteBarrier<Rc<Snapshot>>,
    published: Published,
    /// Moves that are not published yet, and so not logged either.
    unlogged: VecDeque<Transition>,
    metrics: AgentMetrics,
    rng: fastrand::Rng,
    /// Who this is; the rest of a snapshot is laid over it.
    identity: Arc<Snapshot>,
    heartbeat: HeartbeatView,
    usage: Usage,
    sending: Option<Task<()>>,
    reloading: Option<Task<()>>,
    waiting_for_reload: Vec<ReloadRequest>,
    /// How many of them the reload under way answers.
    reload_answers: usize,
    draining: Option<Task<()>>,
    final_heartbeat: bool,
    watchdog: WatchdogTimer,
    exit: bool,
}

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    /// A driver, and the way to tell it things.
    pub fn new(parts: EventLoopConfig<C, W>) -> (Self, Sender<LoopEvent>) {
        let (outbox, inbox) = smol::channel::unbounded();
        let EventLoopConfig { clock, system, executor, machine, scheduler, published, metrics, watchdog, rng } = parts;
        let heartbeat = HeartbeatView { endpoint: system.endpoint(), ..HeartbeatView::default() };
        let event_loop = Self {
            watchdog: WatchdogTimer::new(watchdog, clock.now().monotonic),
            identity: published.get(),
            clock,
            system,
            executor,
            inbox,
            outbox: outbox.clone(),
            machine,
            scheduler,
            barrier: WriteBarrier::default(),
            published,
            unlogged: VecDeque::new(),
            metrics,
            rng,
            heartbeat,
            usage: Usage::default(),
            sending: None,
            reloading: None,
            waiting_for_reload: Vec::new(),
            reload_answers: 0,
            draining: None,
            final_heartbeat: false,
            exit: false,
        };
        (event_loop, outbox)
    }

    /// Turns until the machine says exit.
    pub async fn run(mut self) -> ExitKind {
        loop {
            // What has expired comes first, so that a flood of reports cannot postpone a deadline.
            self.expire();
            if self.exit {
                return self.machine.outcome().unwrap_or(ExitKind::Forced);
            }
            match next_event(&self.inbox, &self.clock, self.deadline()).await {
                Some(report) => self.take(report),
                None => continue,
            }
            if self.exit {
                return self.machine.outcome().unwrap_or(ExitKind::Forced);
            }
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let heartbeat =
            self.scheduler.as_ref().filter(|_| self.machine.state().beats()).and_then(HeartbeatScheduler::due);
        [self.machine.deadline(), self.barrier.deadline(), heartbeat, self.watchdog.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Everything whose time has come.
    fn expire(&mut self) {
        let now = self.clock.now().monotonic;
        if self.barrier.expire(now) {
            self.give_up_on_disk();
        }
        if self.watchdog.expire(now) {
            self.system.notify(Notice::Alive);
        }
        if self.machine.deadline().is_some_and(|at| at <= now) {
            self.probe();
            self.input(Input::TimePassed);
        }
        let heartbeat =
            self.scheduler.as_ref().filter(|_| self.machine.state().beats()).and_then(HeartbeatScheduler::due);
        if heartbeat.is_some_and(|at| at <= now) {
            self.probe();
            self.input(Input::HeartbeatDue);
        }
    }

    /// Hands the machine what happened, and carries out what it decides.
    fn input(&mut self, input: Input) {
        let now = self.clock.now();
        match self.machine.handle(now, input) {
            Ok(reaction) => {
                let started = reaction.transition.as_ref().is_some_and(|t| t.from == State::Starting && t.to.beats());
                if let Some(transition) = reaction.transition {
                    self.metrics.transition(transition.from, transition.to);
                    self.unlogged.push_back(transition);
                }
                self.carry_out(reaction.effects);
                if started && !self.waiting_for_reload.is_empty() {
                    self.input(Input::ReloadRequested);
                }
            }
            Err(refused) => {
                self.metrics.refused();
                tracing::warn!(event = ?refused.event, state = ?refused.state, "event refused");
            }
        }
    }

    fn carry_out(&mut self, effects: &[Effect]) {
        match effects {
            [Effect::Persist, rest @ ..] => self.persist(rest),
            effects => self.perform(effects, None),
        }
    }

    /// Samples what the process uses. That this fails is a fault like any other.
    fn probe(&mut self) {
        match self.system.sample() {
            Ok(usage) => {
                self.usage = usage;
                self.input(Input::FaultCleared(FaultName::Resources));
                if !self.machine.has_proved(Part::Probes) {
                    self.input(Input::PartProved(Part::Probes));
                }
            }
            Err(detail) => self.raise(FaultName::Resources, detail),
        }
    }

    /// Raises a fault, and logs it if it is new: beside another one it moves nobody, and no move would tell of it.
    fn raise(&mut self, name: FaultName, detail: String) {
        if !self.machine.faults().stands(name) {
            tracing::error!(fault = name.as_str(), error = detail, "fault raised; the agent goes on");
        }
        self.input(Input::FaultRaised(name, detail));
    }

    /// All that may be said now.
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            lifecycle: Arc::new(self.machine.clone()),
            heartbeat: self.heartbeat.clone(),
            usage: self.usage,
            ..(*self.identity).clone()
        }
    }
}
