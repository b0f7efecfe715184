//! The daemon's only loop: what happened in, the registry's decisions out, in order. Nothing else moves an agent.
//!
//! Whatever may take time (starting a process, a check, a save) runs beside the loop as a task and comes back as a
//! [`LoopEvent`]. Time and the host are parameters, so a test can run it on a clock and a host of its own.

pub(crate) mod events;
pub(crate) mod perform;
pub(crate) mod saves;
pub(crate) mod shared_registry;

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use smol::LocalExecutor;
use smol::channel::{Receiver, Sender};
use smol::lock::Semaphore;
use statemachine::supervision::{BootId, Exit, Identity};

pub(crate) use self::shared_registry::SharedRegistry;

use self::perform::PendingAction;
use self::saves::Saves;
use super::checks::{CheckResult, ScheduledCheck};
use super::effects::{Effects, NotStarted, Notice, ReloadError};
use super::registry::{AgentId, DesiredAgent, Registry};
use ops_runtime::clock::Clock;
use ops_runtime::event_loop::{WatchdogTimer, next_event};

/// How many checks run at a time: each may need a descriptor or two, of which there are often no more than 1,024.
const CHECKS_AT_A_TIME: usize = 256;

/// How long the end of the daemon waits for the disk and for processes that are just being started.
const CLOSING: Duration = Duration::from_secs(5);

/// How long an orderly stop of everything may take: an agent has 30 seconds, then it is killed.
const STOPPING: Duration = Duration::from_secs(45);

/// What comes in: from inputs, and from tasks that carried out an effect.
#[derive(Debug)]
pub enum LoopEvent {
    /// The registry was asked something, and has decided.
    Decided,
    /// A process was started, or was not.
    Spawned(AgentId, Result<Identity, NotStarted>),
    /// A process has ended.
    Exited(AgentId, Identity, Exit),
    /// A check has ended.
    Checked {
        /// Whose.
        id: AgentId,
        /// Which process was looked at.
        process: Identity,
        /// What was looked at.
        check: ScheduledCheck,
        /// When, on the monotonic clock.
        begun: Duration,
        /// What it has shown.
        finding: CheckResult,
    },
    /// What an agent's earlier process had left behind is gone.
    Swept(AgentId),
    /// A save has ended.
    Saved(Result<(), String>),
    /// Somebody asked for the configuration to be read again, and who.
    ReloadRequested(String),
    /// It was read, or it is bad.
    Reloaded(Result<Vec<DesiredAgent>, ReloadError>),
    /// Something keeps the daemon from its work, or no longer does.
    Fault(&'static str, Option<String>),
    /// Somebody asked for the end of the daemon, and who.
    StopRequested(Stop, String),
}

/// What becomes of the agents when the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// They go on, and the next daemon adopts them.
    LeaveAgents,
    /// They are stopped in order, and the next daemon starts them again.
    StopAgents,
}

/// How the daemon ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Who goes on without it.
    pub left_running: Vec<AgentId>,
    /// Whether it left what it was told to: `false` if an agent could not be stopped, or the registry not be saved.
    pub in_order: bool,
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
    /// The agents, as the configuration and an earlier daemon left them.
    pub registry: Registry,
    /// Which of them have a process already, proved to be theirs.
    pub found: HashMap<AgentId, Identity>,
    /// The present boot.
    pub boot: BootId,
    /// How often the service manager wants to hear that the loop turns.
    pub watchdog: Option<Duration>,
}

/// The loop and all that it owns.
#[derive(Debug)]
pub struct EventLoop<C, W> {
    clock: C,
    system: Rc<W>,
    executor: Rc<LocalExecutor<'static>>,
    shared_registry: Rc<SharedRegistry<C, W>>,
    inbox: Receiver<LoopEvent>,
    outbox: Sender<LoopEvent>,
    boot: BootId,
    saves: Saves,
    /// What is still to be done, each agent's in order.
    steps: HashMap<AgentId, VecDeque<PendingAction>>,
    /// Which checks are under way.
    looking: HashSet<(AgentId, ScheduledCheck)>,
    permits: Rc<Semaphore>,
    /// How many processes are just being started.
    spawning: usize,
    /// A reload is under way, and whether another one is to follow.
    reloading: Option<bool>,
    stop: Option<Stop>,
    /// When the daemon ends, whatever is left to do.
    ends_at: Option<Duration>,
    /// An agent's state has changed in this turn.
    moved: bool,
    watchdog: WatchdogTimer,
}

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    /// A driver, and the way to tell it things.
    pub fn new(parts: EventLoopConfig<C, W>) -> (Self, Sender<LoopEvent>) {
        let EventLoopConfig { clock, system, executor, registry, found, boot, watchdog } = parts;
        let (outbox, inbox) = smol::channel::unbounded();
        let ids: Vec<AgentId> = registry.iter().map(|(id, _)| AgentId::clone(id)).collect();
        let shared_registry = Rc::new(SharedRegistry::new(clock.clone(), Rc::clone(&system), registry, outbox.clone()));
        for id in ids {
            let process = found.get(&id).copied();
            // Every id is the registry's own.
            let _ = shared_registry.decide(|registry, now| registry.found(now, &id, process));
        }
        let event_loop = Self {
            watchdog: WatchdogTimer::new(watchdog, clock.now().monotonic),
            clock,
            system,
            executor,
            shared_registry,
            inbox,
            outbox: outbox.clone(),
            boot,
            saves: Saves::default(),
            steps: HashMap::new(),
            looking: HashSet::new(),
            permits: Rc::new(Semaphore::new(CHECKS_AT_A_TIME)),
            spawning: 0,
            reloading: None,
            stop: None,
            ends_at: None,
            moved: true,
        };
        (event_loop, outbox)
    }

    /// Where heartbeats are handed in, and where one asks about agents.
    #[must_use]
    pub fn shared_registry(&self) -> Rc<SharedRegistry<C, W>> {
        Rc::clone(&self.shared_registry)
    }

    /// Turns until somebody asks for the end.
    pub async fn run(mut self) -> End {
        loop {
            if self.deadline().is_some_and(|at| at <= self.clock.now().monotonic) {
                self.let_others_read().await;
            }
            self.expire();
            self.carry_out();
            self.tell_service_manager();
            if let Some(end) = self.end() {
                return end;
            }
            let Some(report) = next_event(&self.inbox, &self.clock, self.deadline()).await else { continue };
            self.take(report);
            self.take_what_is_here();
        }
    }

    /// What has arrived by now comes before what time alone decides: nobody is overdue whose news are here. Not more than
    /// that, so that a flood cannot postpone a deadline.
    fn take_what_is_here(&mut self) {
        for _ in 0..self.inbox.len() {
            if let Ok(report) = self.inbox.try_recv() {
                self.take(report);
            }
        }
    }

    /// Of a heartbeat that still lies in its socket nobody knows that it is here. After a stall that ended just when
    /// something fell due, which is no lateness, whoever reads the sockets is woken together with the loop: they go first.
    async fn let_others_read(&mut self) {
        future::yield_now().await;
        self.take_what_is_here();
    }

    fn deadline(&self) -> Option<Duration> {
        let agents = self.shared_registry.read(Registry::deadline);
        [agents, self.saves.deadline(), self.watchdog.deadline(), self.ends_at].into_iter().flatten().min()
    }

    /// Everything whose time has come.
    fn expire(&mut self) {
        let decided: Result<(), Infallible> = self.shared_registry.decide(|registry, now| Ok(registry.wake(now)));
        debug_assert!(decided.is_ok(), "there is no way to fail");
        let now = self.clock.now().monotonic;
        if self.saves.expire(now) {
            let detail = format!("the disk has not taken the registry within {:?}", saves::PATIENCE);
            self.fault("registry", Some(detail));
            self.advance_all();
        }
        if self.watchdog.expire(now) {
            self.system.notify(Notice::Alive);
        }
    }

    fn advance_all(&mut self) {
        let ids: Vec<AgentId> = self.steps.keys().map(AgentId::clone).collect();
        for id in ids {
            self.advance(&id);
        }
    }
}
