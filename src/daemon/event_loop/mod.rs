//! The daemon's only loop: one event in, the registry's decisions out, in order. Nothing else changes an agent.
//!
//! Slow work (starting a process, a check, a save) runs as a task beside the loop, and its result comes back as a [`LoopEvent`].
//! Clock and host are parameters, so tests pass their own.

pub(crate) mod events;
mod hook_reports;
pub(crate) mod perform;
pub(crate) mod reloads;
pub(crate) mod saves;
pub(crate) mod shared_registry;
mod work_meter;

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use smol::LocalExecutor;
use smol::channel::{Receiver, Sender};
use smol::lock::Semaphore;
use statemachine::supervision::{BootId, Exit, Identity};

pub(crate) use self::reloads::{ReloadRequest, ReloadResult};
pub(crate) use self::shared_registry::SharedRegistry;

use self::perform::PendingAction;
use self::reloads::Reloads;
use self::saves::Saves;
use super::checks::{CheckResult, ScheduledCheck};
use super::effects::{Effects, NotStarted, Notice, ReloadError, Reloaded, Unproved};
use super::processes::MainExit;
use super::registry::{AgentId, Registry};
use super::store::SaveError;
use ops_runtime::clock::Clock;
use ops_runtime::event_loop::{WatchdogTimer, next_event};

/// The limit of concurrent checks. Each needs up to three descriptors, and the usual limit on open files is 1,024.
const CHECKS_AT_A_TIME: usize = 256;

/// How long the daemon, when it ends, waits for the disk and for processes that are being started.
const CLOSING: Duration = Duration::from_secs(5);

/// The time that a stop of all agents has beyond the longest stop timeout: for SIGKILL to be effective, and for the disk.
const STOPPING: Duration = Duration::from_secs(15);

/// What the loop handles: from the API and signals, and from tasks that performed an effect.
#[derive(Debug)]
pub enum LoopEvent {
    /// The registry has decided something.
    Decided,
    /// The search for the process of an earlier daemon has ended.
    Found(AgentId, Option<Identity>),
    /// A start succeeded or failed.
    Spawned(AgentId, Result<Identity, NotStarted>),
    /// A main process has exited. Others of its tree may be left.
    MainExited(AgentId, Identity, MainExit),
    /// The last process of a tree is gone. Its main process ended so.
    Emptied(AgentId, Identity, Exit),
    /// Some time after SIGKILL, these processes of a tree are left.
    Unkillable(AgentId, Identity, String),
    /// A stop has left these processes of a tree running on purpose.
    Released(AgentId, Identity, String),
    /// What another program has done to the log of an agent, for people. `None`: nothing any more.
    LogChanged(AgentId, Option<&'static str>),
    /// The last output of a process that has ended was read.
    LastOutput {
        /// The agent.
        id: AgentId,
        /// The process.
        process: Identity,
        /// Whether the daemon had asked it to end.
        asked: bool,
        /// The lines, oldest first.
        lines: Vec<String>,
    },
    /// A check has ended.
    Checked {
        /// The agent.
        id: AgentId,
        /// The process that was checked.
        process: Identity,
        /// The check.
        check: ScheduledCheck,
        /// When it began, on the monotonic clock.
        begun: Duration,
        /// What it found.
        finding: CheckResult,
    },
    /// A save has ended.
    Saved(Result<(), SaveError>),
    /// A reload was requested.
    ReloadRequested(ReloadRequest),
    /// A reload has ended.
    Reloaded(Result<Reloaded, ReloadError>),
    /// A fault of the daemon is raised, or cleared with `None`.
    Fault(&'static str, Option<String>),
    /// The end of the daemon was requested, and by what.
    StopRequested(Stop, String),
}

/// What happens to the agents when the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// They keep running, and the next daemon adopts them.
    LeaveAgents,
    /// They are stopped in order, and the next daemon starts them again.
    StopAgents,
}

/// How the daemon ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The agents that keep running.
    pub left_running: Vec<AgentId>,
    /// `false` if an agent could not be stopped, or the registry could not be saved.
    pub in_order: bool,
}

/// The parts of an event loop.
#[derive(Debug)]
pub struct EventLoopConfig<C, W> {
    /// The clock.
    pub clock: C,
    /// Performs effects.
    pub system: Rc<W>,
    /// Runs tasks.
    pub executor: Rc<LocalExecutor<'static>>,
    /// The agents, from the configuration and an earlier daemon.
    pub registry: Registry,
    /// The agents that have a proved process already.
    pub found: HashMap<AgentId, Identity>,
    /// The agents of which that cannot be told yet.
    pub unproved: Vec<Unproved>,
    /// The current boot.
    pub boot: BootId,
    /// The interval of the service manager's watchdog.
    pub watchdog: Option<Duration>,
}

/// The loop with its state.
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
    /// The pending actions of each agent, in order.
    pending: HashMap<AgentId, VecDeque<PendingAction>>,
    /// The checks in progress; `true` if another one was due meanwhile.
    checking: HashMap<(AgentId, ScheduledCheck), bool>,
    permits: Rc<Semaphore>,
    /// The number of starts in progress.
    spawning: usize,
    reloads: Reloads,
    stop: Option<Stop>,
    /// When the daemon ends at the latest.
    ends_at: Option<Duration>,
    /// An agent's state has changed in this turn of the loop.
    state_changed: bool,
    watchdog: WatchdogTimer,
}

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    /// A loop, and the sender of its events.
    pub fn new(config: EventLoopConfig<C, W>) -> (Self, Sender<LoopEvent>) {
        let EventLoopConfig { clock, system, executor, registry, found, unproved, boot, watchdog } = config;
        let (outbox, inbox) = smol::channel::unbounded();
        let ids: Vec<AgentId> = registry.iter().map(|(id, _)| AgentId::clone(id)).collect();
        let shared_registry = Rc::new(SharedRegistry::new(clock.clone(), Rc::clone(&system), registry, outbox.clone()));
        let not_known: HashSet<&AgentId> = unproved.iter().map(|search| &search.id).collect();
        for id in ids.into_iter().filter(|id| !not_known.contains(id)) {
            let process = found.get(&id).copied();
            // Every ID comes from the registry, so it is known.
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
            pending: HashMap::new(),
            checking: HashMap::new(),
            permits: Rc::new(Semaphore::new(CHECKS_AT_A_TIME)),
            spawning: 0,
            reloads: Reloads::default(),
            stop: None,
            ends_at: None,
            state_changed: true,
        };
        event_loop.search_again(unproved);
        (event_loop, outbox)
    }

    /// The registry as the API uses it.
    #[must_use]
    pub fn shared_registry(&self) -> Rc<SharedRegistry<C, W>> {
        Rc::clone(&self.shared_registry)
    }

    /// Runs until the end is requested.
    pub async fn run(mut self) -> End {
        loop {
            if self.deadline().is_some_and(|at| at <= self.clock.now().monotonic) {
                self.yield_to_readers().await;
            }
            self.expire();
            self.carry_out();
            self.notify_service_manager();
            if let Some(end) = self.end() {
                return end;
            }
            self.shared_registry.turn_ends();
            let Some(event) = next_event(&self.inbox, &self.clock, self.deadline()).await else { continue };
            self.handle(event);
            self.handle_queued_events();
        }
    }

    /// Handles the queued events before deadlines, so that an agent whose event is queued is not overdue. Events that arrive
    /// later have to wait, so that a flood cannot postpone a deadline.
    fn handle_queued_events(&mut self) {
        for _ in 0..self.inbox.len() {
            if let Ok(event) = self.inbox.try_recv() {
                self.handle(event);
            }
        }
    }

    /// Lets the tasks that read sockets run first, because after a stall a heartbeat may still be in its socket.
    async fn yield_to_readers(&mut self) {
        future::yield_now().await;
        self.handle_queued_events();
    }

    fn deadline(&self) -> Option<Duration> {
        let agents = self.shared_registry.read(Registry::deadline);
        [agents, self.saves.deadline(), self.watchdog.deadline(), self.ends_at].into_iter().flatten().min()
    }

    /// Handles everything that is due.
    fn expire(&mut self) {
        let decided: Result<(), Infallible> = self.shared_registry.decide(|registry, now| Ok(registry.expire(now)));
        debug_assert!(decided.is_ok(), "there is no way to fail");
        let now = self.clock.now().monotonic;
        if self.saves.expire(now) {
            let detail = format!("the disk has not answered within {:?}", saves::SAVE_TIMEOUT);
            self.fault("registry", Some(detail));
            self.advance_all();
        }
        if self.watchdog.expire(now) {
            self.system.notify(Notice::Alive);
        }
    }

    fn advance_all(&mut self) {
        let ids: Vec<AgentId> = self.pending.keys().map(AgentId::clone).collect();
        for id in ids {
            self.advance(&id);
        }
    }
}
