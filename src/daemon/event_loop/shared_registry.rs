//! The registry as the loop and the API share it. Answers come from memory, and decisions are left to the loop.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use smol::channel::Sender;
use statemachine::supervision::{Input, Reason, ReasonCode};
use statemachine::time::Now;

use super::work_meter::WorkMeter;
use super::{LoopEvent, ReloadRequest, ReloadResult};
use crate::daemon::control::{
    ControlApi, Declined, HeartbeatSender, LoopCounts, Order, Peer, ReloadRefused, ScrapeTarget,
};
use crate::daemon::effects::{Description, Effects};
use crate::daemon::processes::{LogPosition, NamedSignal, NewOutput};
use crate::daemon::registry::{
    AgentId, Decisions, Entry, HeartbeatFacts, Notification, Proof, Registry, Rejected, StopRefused,
};
use ops_protocol::Command;
use ops_protocol::Timestamp;
use ops_protocol::heartbeat::ReceivedHeartbeat;
use ops_protocol::views::{AgentView, DaemonHealth, LastReload, RefusedReload, StateName};
use ops_runtime::blocking;
use ops_runtime::clock::{Clock, within};
use ops_runtime::program;

/// How long work on files may wait for a thread before the daemon calls it a fault.
const MAX_DISK_WAIT: Duration = Duration::from_secs(5);

/// The size limit of the reason of a refused reload, in bytes. The log has the whole text.
const MAX_REASON: usize = 2048;

/// How long a request waits for the result of its reload, which may have to wait for another one.
const RELOAD_RESULT: Duration = Duration::from_secs(25);

/// The registry with the decisions that the loop has not performed yet.
#[derive(Debug)]
pub struct SharedRegistry<C, W> {
    clock: C,
    system: Rc<W>,
    registry: RefCell<Registry>,
    outcomes: RefCell<VecDeque<Decisions>>,
    outbox: Sender<LoopEvent>,
    faults: RefCell<BTreeMap<&'static str, String>>,
    configured: RefCell<Configured>,
    /// All agents are being stopped, so none is started.
    closing: Cell<bool>,
    work: WorkMeter,
    counts: Cell<LoopCounts>,
    began: Duration,
}

/// The configuration in force and the reloads.
#[derive(Debug, Clone)]
struct Configured {
    /// When the configuration in force was read.
    since: Timestamp,
    /// The last reload, if it was refused.
    refused: Option<RefusedReload>,
    /// The last reload.
    last: Option<LastReload>,
}

impl<C: Clock, W: Effects> SharedRegistry<C, W> {
    pub(super) fn new(clock: C, system: Rc<W>, registry: Registry, outbox: Sender<LoopEvent>) -> Self {
        let Now { monotonic: began, wall } = clock.now();
        Self {
            began,
            clock,
            system,
            registry: RefCell::new(registry),
            outcomes: RefCell::default(),
            outbox,
            faults: RefCell::default(),
            configured: RefCell::new(Configured { since: Timestamp(wall), refused: None, last: None }),
            closing: Cell::new(false),
            work: WorkMeter::default(),
            counts: Cell::default(),
        }
    }

    /// Calls the registry, and queues its decisions for the loop.
    pub(super) fn decide<E>(&self, decide: impl FnOnce(&mut Registry, Now) -> Result<Decisions, E>) -> Result<(), E> {
        let now = self.clock.now();
        let mut registry = self.registry.borrow_mut();
        let before = registry.deadline();
        // Before an agent is judged: the daemon may have stalled.
        let worked = |due| self.work.since(due, self.clock.cpu_time());
        let hold = registry.on_wakeup(now, self.clock.boottime(), worked);
        let decided = decide(&mut registry, now);
        let sooner = registry.deadline().is_some_and(|after| before.is_none_or(|before| after < before));
        drop(registry);
        if hold.is_some() {
            self.queue(Decisions { hold, ..Decisions::default() });
        }
        let result = decided.map(|outcome| {
            if outcome != Decisions::default() {
                self.queue(outcome);
            }
        });
        if sooner {
            let _ = self.outbox.try_send(LoopEvent::Decided);
        }
        result
    }

    /// The agent that a sender without an agent ID belongs to.
    fn agent_of(&self, pid: u32, sender: &HeartbeatSender<'_>) -> Option<AgentId> {
        let main = self.system.tree_of(pid, sender)?;
        self.read(|registry| registry.by_pid(main.pid).map(AgentId::clone))
    }

    fn queue(&self, outcome: Decisions) {
        let mut outcomes = self.outcomes.borrow_mut();
        if outcomes.is_empty() {
            let _ = self.outbox.try_send(LoopEvent::Decided);
        }
        outcomes.push_back(outcome);
    }

    /// The next decisions.
    pub(super) fn next_decisions(&self) -> Option<Decisions> {
        self.outcomes.borrow_mut().pop_front()
    }

    /// Reads the registry.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Registry) -> T) -> T {
        read(&self.registry.borrow())
    }

    /// The ID of an agent in the registry.
    fn known(&self, id: &str) -> Result<AgentId, Declined> {
        let known = self.read(|registry| registry.iter().map(|(id, _)| id).find(|known| ***known == *id).cloned());
        known.ok_or_else(|| Declined::unknown(id))
    }

    /// Why an agent cannot be started now, and what to do.
    fn refuses_start(&self, id: &str, entry: Option<&Entry>) -> Option<String> {
        if let Some(why) = entry.and_then(Entry::unproved) {
            let fact = format!("it is not known whether the process of {id} is alive: {why}");
            return Some(format!("{fact}: the daemon tries again each second"));
        }
        if let Some(stuck) = entry.map(Entry::machine).filter(|machine| machine.remainder().is_some()) {
            return Some(format!("{}: find out what these processes wait for, or reboot", stuck.cause()));
        }
        let fact = if self.closing.get() {
            "the daemon is stopping all agents: start the daemon again first"
        } else if entry.is_some_and(Entry::removed) {
            "the agent is no longer configured: add it to the configuration and reload"
        } else {
            return None;
        };
        Some(fact.to_owned())
    }

    /// Counts what the loop has done.
    pub(super) fn count(&self, count: impl FnOnce(&mut LoopCounts)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
    }

    /// Changes what is only shown, so that no decision follows.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        change(&mut self.registry.borrow_mut())
    }

    /// A turn of the loop has ended. The thread's work from here on is no stall.
    pub(super) fn turn_ends(&self) {
        self.work.turn_ends(self.clock.now().monotonic, self.clock.cpu_time());
    }

    /// From here on no agent is started.
    pub(super) fn close(&self) {
        self.closing.set(true);
    }

    /// A reload has ended.
    pub(super) fn reloaded(&self, by: &str, result: &ReloadResult) {
        let at = Timestamp(self.clock.now().wall);
        let mut configured = self.configured.borrow_mut();
        let (success, message) = match result {
            Ok(view) => (true, view.summary()),
            Err(refused) => (false, shortened(&refused.to_string())),
        };
        match result {
            Ok(_) => (configured.since, configured.refused) = (at, None),
            Err(_) => configured.refused = Some(RefusedReload { at, reason: message.clone() }),
        }
        configured.last = Some(LastReload { at, success, by: by.to_owned(), message });
    }

    /// Raises a fault of the daemon, or clears it with `None`. `true` if that is a change.
    pub(super) fn fault(&self, name: &'static str, detail: Option<String>) -> bool {
        let mut faults = self.faults.borrow_mut();
        match detail {
            Some(detail) => faults.insert(name, detail).is_none(),
            None => faults.remove(name).is_some(),
        }
    }
}

impl<C: Clock + 'static, W: Effects> ControlApi for SharedRegistry<C, W> {
    fn heartbeat(&self, heartbeat: &ReceivedHeartbeat, sender: &HeartbeatSender<'_>) -> Result<(), Rejected> {
        let (pid, named) = (heartbeat.pid, heartbeat.agent_id.as_deref());
        let found = if named.is_none() { self.agent_of(pid, sender) } else { None };
        // No agent has an empty ID, so an unknown sender counts as a stray.
        let id = named.or(found.as_deref()).unwrap_or_default();
        let main = self.read(|registry| registry.get(id).and_then(|entry| entry.machine().process()));
        let proof = main.map_or(Proof::Nothing, |main| self.system.prove(main, pid, sender));
        self.decide(|registry, now| registry.on_heartbeat(now, id, &HeartbeatFacts::of(heartbeat, proof)))
    }

    fn agent_ids(&self) -> Vec<AgentId> {
        let mut ids: Vec<AgentId> = self.read(|registry| registry.iter().map(|(id, _)| AgentId::clone(id)).collect());
        ids.sort_unstable();
        ids
    }

    fn agent(&self, id: &str) -> Option<AgentView> {
        let mut view = self.read(|registry| registry.view(self.clock.now(), id))?;
        if let Some(Description { name, kind, labels, .. }) = self.system.describe(id) {
            (view.name, view.kind, view.labels) = (name, kind.into(), labels);
        }
        Some(view)
    }

    fn control(&self, id: &str, order: Order, by: &str) -> Result<(), Declined> {
        let Order { command, with_dependents } = order;
        let reason = |code| Reason::new(code, by);
        if matches!(command, Command::Start | Command::Restart)
            && let Some(why) = self.read(|registry| self.refuses_start(id, registry.get(id)))
        {
            return Err(Declined::NotNow(why));
        }
        match command {
            Command::Start => {
                Ok(self.decide(|registry, now| registry.start(now, id, reason(ReasonCode::StartCommand)))?)
            }
            Command::Restart => {
                let input = Input::RestartRequested(reason(ReasonCode::RestartCommand));
                Ok(self.decide(|registry, now| registry.handle(now, id, input))?)
            }
            Command::Stop => {
                let stop = reason(ReasonCode::StopCommand);
                self.decide(|registry, now| registry.stop(now, id, with_dependents, stop)).map_err(|refused| {
                    match refused {
                        StopRefused::UnknownAgent(unknown) => unknown.into(),
                        StopRefused::Dependents(_) => Declined::NotNow(format!(
                            "{id} is not stopped: {refused}: stop them first, or all together with `--with-dependents`"
                        )),
                    }
                })
            }
            Command::Hold => Ok(self.decide(|registry, now| registry.hold(now, id, reason(ReasonCode::HoldCommand)))?),
            Command::Release => Ok(self.decide(|registry, now| registry.release(now, id))?),
        }
    }

    fn signal(&self, id: &str, signal: NamedSignal, by: &str) -> Result<(), Declined> {
        let process = self.read(|registry| registry.get(id).map(|entry| entry.machine().process()));
        let process = process.ok_or_else(|| Declined::unknown(id))?;
        let Some(process) = process else {
            return Err(Declined::NotNow(format!("{id} has no process: start it first")));
        };
        let name = signal.name();
        self.system.signal(process, signal).map_err(|error| {
            Declined::Failed(format!(
                "{process} of {id} cannot be sent SIG{name}: {error}: see `{} why {id}`",
                program::name()
            ))
        })?;
        tracing::info!(agent_id = id, pid = process.pid, signal = name, by, "signal sent to the main process");
        self.change(|registry| registry.set_signalled(id, signal.number(), by));
        Ok(())
    }

    fn scrape_target(&self, id: &str) -> Option<ScrapeTarget> {
        let description = self.system.describe(id).filter(|description| description.metrics_url.is_some())?;
        let state = |registry: &Registry| {
            registry.get(id).filter(|entry| entry.is_wanted()).map(|entry| entry.machine().state())
        };
        let state = self.read(state)?;
        Some(ScrapeTarget { agent_id: id.to_owned(), state, description })
    }

    fn notify(&self, id: &str, pid: u32, said: Notification) {
        let sender = HeartbeatSender { secret: None, peer: Peer::Process { pid: Some(pid), is_owner: false } };
        match self.system.tree_of(pid, &sender) {
            Some(main) => {
                let Ok(()) =
                    self.decide::<Infallible>(|registry, now| Ok(registry.on_notification(now, id, main, said)));
            }
            None => tracing::debug!(agent_id = id, pid, "notification of a process that belongs to no agent"),
        }
    }

    fn counts(&self) -> LoopCounts {
        self.counts.get()
    }

    fn health(&self) -> DaemonHealth {
        let now = self.clock.now().monotonic;
        let mut faults: Vec<String> = self.faults.borrow().values().cloned().collect();
        let waits = blocking::oldest_wait();
        if waits > MAX_DISK_WAIT {
            faults.push(format!(
                "work on files has waited for a thread for {} s: look for a disk or network drive that does not answer",
                waits.as_secs()
            ));
        }
        let Configured { since, refused, last } = self.configured.borrow().clone();
        let held = |registry: &Registry| {
            let hold = registry.iter().find_map(|(_, entry)| registry.held(now, entry.limits().interval));
            hold.map(|hold| hold.reason)
        };
        let held = self.read(held);
        DaemonHealth {
            healthy: faults.is_empty(),
            faults,
            held: held.map(|reason| reason.to_string()),
            held_reason: held.map(|reason| reason.code().as_str().into()),
            held_agents: self.read(|registry| registry.iter().filter(|(_, entry)| entry.hold().is_some()).count()),
            agents: self.read(count),
            strays: self.read(Registry::strays),
            uptime_s: now.saturating_sub(self.began).as_secs(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            configured_at: Some(since),
            hooks: self.system.hooks(),
            reload_refused: refused,
            last_reload: last,
        }
    }

    async fn reload(&self, by: &str) -> ReloadResult {
        let (reply, result) = smol::channel::bounded(1);
        let request = ReloadRequest { by: by.to_owned(), reply: Some(reply) };
        let _ = self.outbox.try_send(LoopEvent::ReloadRequested(request));
        // A closed channel means that the loop has ended.
        let result = async { result.recv().await.unwrap_or(Err(ReloadRefused::Ending)) };
        within(RELOAD_RESULT, result).await.unwrap_or(Err(ReloadRefused::NoResult(RELOAD_RESULT)))
    }

    async fn logs(&self, id: &str, lines: usize) -> Result<Vec<String>, Declined> {
        let id = self.known(id)?;
        Rc::clone(&self.system).logs(id, lines).await.map_err(|error| Declined::Failed(error.to_string()))
    }

    async fn new_output(&self, id: &str, position: Option<LogPosition>, lines: usize) -> Result<NewOutput, Declined> {
        let id = self.known(id)?;
        let found = Rc::clone(&self.system).new_output(id, position, lines).await;
        found.map_err(|error| Declined::Failed(error.to_string()))
    }
}

/// A reason within its size limit.
fn shortened(reason: &str) -> String {
    let end = reason.floor_char_boundary(MAX_REASON);
    let dots = if end < reason.len() { "…" } else { "" };
    format!("{}{dots}", reason.get(..end).unwrap_or_default())
}

/// The number of agents in each state.
pub(super) fn count(registry: &Registry) -> BTreeMap<StateName, usize> {
    let mut counts = BTreeMap::new();
    for (_, entry) in registry.iter() {
        *counts.entry(StateName(entry.machine().state())).or_default() += 1;
    }
    counts
}
