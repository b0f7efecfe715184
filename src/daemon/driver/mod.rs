//! The daemon's only loop: what happened in, the registry's decisions out, in order. Nothing else moves an agent.
//!
//! Whatever may take time (starting a process, a check, a save) runs beside the loop as a task and comes back as a
//! [`Report`]. Time and the host are parameters, so a test can run it on a clock and a host of its own.

mod effects;
mod office;
mod reports;
mod saves;

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{FutureExt as _, future};
use smol::LocalExecutor;
use smol::channel::{Receiver, Sender};
use smol::lock::Semaphore;
use statemachine::supervision::{BootId, Exit, Identity};

pub use self::office::Office;

use self::effects::Step;
use self::saves::Saves;
use super::registry::{AgentId, Finding, Registry, Wanted};
use super::verdict::Check;
use super::world::{NotStarted, Notice, World};
use ops_runtime::clock::Clock;

/// How many checks run at a time: each may need a descriptor or two, of which there are often no more than 1,024.
const CHECKS_AT_A_TIME: usize = 256;

/// How long the end of the daemon waits for the disk and for processes that are just being started.
const CLOSING: Duration = Duration::from_secs(5);

/// How long an orderly stop of everything may take: an agent has 30 seconds, then it is killed.
const STOPPING: Duration = Duration::from_secs(45);

/// What comes in: from inputs, and from tasks that carried out an effect.
#[derive(Debug)]
pub enum Report {
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
        check: Check,
        /// When, on the monotonic clock.
        begun: Duration,
        /// What it has shown.
        finding: Finding,
    },
    /// What an agent's earlier process had left behind is gone.
    Swept(AgentId),
    /// A save has ended.
    Saved(Result<(), String>),
    /// Somebody asked for the configuration to be read again, and who.
    ReloadRequested(String),
    /// It was read, or it is bad.
    Reloaded(Result<Vec<Wanted>, String>),
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
pub struct Parts<C, W> {
    /// The clocks.
    pub clock: C,
    /// Carries out effects.
    pub world: Rc<W>,
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
pub struct Driver<C, W> {
    clock: C,
    world: Rc<W>,
    executor: Rc<LocalExecutor<'static>>,
    office: Rc<Office<C, W>>,
    inbox: Receiver<Report>,
    outbox: Sender<Report>,
    boot: BootId,
    saves: Saves,
    /// What is still to be done, each agent's in order.
    steps: HashMap<AgentId, VecDeque<Step>>,
    /// Which checks are under way.
    looking: HashSet<(AgentId, Check)>,
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
    watchdog: Option<Duration>,
    ping_at: Duration,
}

impl<C: Clock + Clone + 'static, W: World> Driver<C, W> {
    /// A driver, and the way to tell it things.
    pub fn new(parts: Parts<C, W>) -> (Self, Sender<Report>) {
        let Parts { clock, world, executor, registry, found, boot, watchdog } = parts;
        let (outbox, inbox) = smol::channel::unbounded();
        let ids: Vec<AgentId> = registry.iter().map(|(id, _)| AgentId::clone(id)).collect();
        let office = Rc::new(Office::new(clock.clone(), Rc::clone(&world), registry, outbox.clone()));
        for id in ids {
            let process = found.get(&id).copied();
            // Every id is the registry's own.
            let _ = office.decide(|registry, now| registry.found(now, &id, process));
        }
        let driver = Self {
            ping_at: clock.now().monotonic,
            clock,
            world,
            executor,
            office,
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
            watchdog,
        };
        (driver, outbox)
    }

    /// Where heartbeats are handed in, and where one asks about agents.
    #[must_use]
    pub fn office(&self) -> Rc<Office<C, W>> {
        Rc::clone(&self.office)
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
            let Some(report) = self.next().await else { continue };
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

    /// The next report, or `None` when a deadline came first.
    async fn next(&self) -> Option<Report> {
        let arrival = async { self.inbox.recv().await.ok() };
        match self.deadline() {
            Some(at) => {
                let expiry = async {
                    self.clock.sleep_until(at).await;
                    None
                };
                arrival.or(expiry).await
            }
            None => arrival.await,
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let ping = self.watchdog.map(|_| self.ping_at);
        let agents = self.office.read(Registry::deadline);
        [agents, self.saves.deadline(), ping, self.ends_at].into_iter().flatten().min()
    }

    /// Everything whose time has come.
    fn expire(&mut self) {
        let decided: Result<(), Infallible> = self.office.decide(|registry, now| Ok(registry.wake(now)));
        debug_assert!(decided.is_ok(), "there is no way to fail");
        let now = self.clock.now().monotonic;
        if self.saves.expire(now) {
            let detail = format!("the disk has not taken the registry within {:?}", saves::PATIENCE);
            self.fault("registry", Some(detail));
            self.advance_all();
        }
        if let Some(interval) = self.watchdog.filter(|_| self.ping_at <= now) {
            self.ping_at = now + interval;
            self.world.notify(Notice::Alive);
        }
    }

    fn advance_all(&mut self) {
        let ids: Vec<AgentId> = self.steps.keys().map(AgentId::clone).collect();
        for id in ids {
            self.advance(&id);
        }
    }
}
