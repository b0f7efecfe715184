//! The only loop. One event in, its effects out, in order. Nothing else changes the agent.
//!
//! Work that takes time runs beside the loop as a task, and its result comes back as a [`LoopEvent`]. The clock and the
//! effects are parameters, so a test runs a year of faults in seconds.

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
use super::status_file::WriteError;
use super::write_barrier::WriteBarrier;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::Clock;
use ops_runtime::event_loop::{WatchdogTimer, next_event};

/// An event from an input, or from a task that performed an effect.
#[derive(Debug)]
pub enum LoopEvent {
    /// A required part works.
    Proved(Part),
    /// A fault was detected. The text explains it.
    Raised(FaultName, String),
    /// The fault is over.
    Cleared(FaultName),
    /// The start cannot succeed.
    StartFailed(String),
    /// A stop was requested. The text names the requester.
    StopRequested(String),
    /// A reload was requested.
    ReloadRequested(ReloadRequest),
    /// A write of the status file ended.
    Written(Result<(), WriteError>),
    /// An attempt to deliver a heartbeat ended.
    HeartbeatEnded(DeliveryResult),
    /// A reload ended.
    Reloaded(Result<Settings, ReloadError>),
    /// The last heartbeat has ended, and no request is in flight.
    Drained,
}

/// The parts of an [`EventLoop`].
#[derive(Debug)]
pub struct EventLoopConfig<C, W> {
    /// The clocks.
    pub clock: C,
    /// Performs effects.
    pub system: Rc<W>,
    /// Runs the tasks.
    pub executor: Rc<LocalExecutor<'static>>,
    /// The machine in its first state.
    pub machine: Machine,
    /// The scheduler of heartbeats. `None`: standalone.
    pub scheduler: Option<HeartbeatScheduler>,
    /// Where the loop publishes snapshots. The first one identifies the agent.
    pub published: Published,
    /// The counters.
    pub metrics: AgentMetrics,
    /// The interval of the service manager's watchdog.
    pub watchdog: Option<Duration>,
    /// The source of the jitter.
    pub rng: fastrand::Rng,
}

/// The loop and its state.
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
    /// Transitions that are not published yet, and so not logged.
    unlogged: VecDeque<Transition>,
    metrics: AgentMetrics,
    rng: fastrand::Rng,
    /// Identifies the agent. The other fields of a snapshot replace this one's.
    identity: Arc<Snapshot>,
    heartbeat: HeartbeatView,
    usage: Usage,
    sending: Option<Task<()>>,
    reloading: Option<Task<()>>,
    waiting_for_reload: Vec<ReloadRequest>,
    /// How many of them the reload in progress serves.
    served_by_reload: usize,
    draining: Option<Task<()>>,
    final_heartbeat: bool,
    watchdog: WatchdogTimer,
    exit: bool,
}

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    /// The loop, and the sender of its events.
    pub fn new(config: EventLoopConfig<C, W>) -> (Self, Sender<LoopEvent>) {
        let (outbox, inbox) = smol::channel::unbounded();
        let EventLoopConfig { clock, system, executor, machine, scheduler, published, metrics, watchdog, rng } = config;
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
            served_by_reload: 0,
            draining: None,
            final_heartbeat: false,
            exit: false,
        };
        (event_loop, outbox)
    }

    /// Runs until the machine exits.
    pub async fn run(mut self) -> ExitKind {
        loop {
            // Deadlines come first, so that a flood of events cannot postpone them.
            self.expire();
            if self.exit {
                return self.machine.outcome().unwrap_or(ExitKind::Forced);
            }
            match next_event(&self.inbox, &self.clock, self.deadline()).await {
                Some(event) => self.handle(event),
                None => continue,
            }
            if self.exit {
                return self.machine.outcome().unwrap_or(ExitKind::Forced);
            }
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let heartbeat = self
            .scheduler
            .as_ref()
            .filter(|_| self.machine.state().sends_heartbeats())
            .and_then(HeartbeatScheduler::due);
        [self.machine.deadline(), self.barrier.deadline(), heartbeat, self.watchdog.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Handles every deadline that has passed.
    fn expire(&mut self) {
        let now = self.clock.now().monotonic;
        if self.barrier.expire(now) {
            self.give_up_on_disk();
        }
        if self.watchdog.expire(now) {
            self.system.notify(Notice::Alive);
        }
        if self.machine.deadline().is_some_and(|at| at <= now) {
            self.sample();
            self.input(Input::TimePassed);
        }
        let heartbeat = self
            .scheduler
            .as_ref()
            .filter(|_| self.machine.state().sends_heartbeats())
            .and_then(HeartbeatScheduler::due);
        if heartbeat.is_some_and(|at| at <= now) {
            self.sample();
            self.input(Input::HeartbeatDue);
        }
    }

    /// Passes `input` to the machine, and performs the effects that it returns.
    fn input(&mut self, input: Input) {
        let now = self.clock.now();
        match self.machine.handle(now, input) {
            Ok(reaction) => {
                let started =
                    reaction.transition.as_ref().is_some_and(|t| t.from == State::Starting && t.to.sends_heartbeats());
                if let Some(transition) = reaction.transition {
                    self.metrics.transition(transition.from, transition.to);
                    self.unlogged.push_back(transition);
                }
                self.apply_effects(reaction.effects);
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

    fn apply_effects(&mut self, effects: &[Effect]) {
        match effects {
            [Effect::Persist, rest @ ..] => self.persist(rest),
            effects => self.perform(effects, None),
        }
    }

    /// Samples CPU and memory. A failure raises a fault.
    fn sample(&mut self) {
        match self.system.sample() {
            Ok(usage) => {
                self.usage = usage;
                self.input(Input::FaultCleared(FaultName::Resources));
                if !self.machine.has_proved(Part::Probes) {
                    self.input(Input::PartProved(Part::Probes));
                }
            }
            Err(error) => self.raise(FaultName::Resources, with_causes(&error)),
        }
    }

    /// Raises a fault, and logs it if it is new. Beside another fault it causes no transition, which would be logged.
    fn raise(&mut self, name: FaultName, detail: String) {
        if !self.machine.faults().contains(name) {
            tracing::error!(fault = name.as_str(), error = detail, "fault raised: the agent continues");
        }
        self.input(Input::FaultRaised(name, detail));
    }

    /// The present state.
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            lifecycle: Arc::new(self.machine.clone()),
            heartbeat: self.heartbeat.clone(),
            usage: self.usage,
            ..(*self.identity).clone()
        }
    }
}
