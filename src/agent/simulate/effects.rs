//! The effects of a simulated agent: the real ones, but those that an act replaces.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt as _;
use smol::LocalExecutor;
use smol::lock::Mutex;

use super::acts::Act;
use super::state::Simulation;
use crate::agent::app::system_effects::SystemEffects;
use crate::agent::effects::{Effects, Notice, Settings};
use crate::agent::heartbeat::scheduler::DeliveryResult;
use crate::agent::reload::ReloadError;
use crate::agent::snapshot::{Snapshot, Usage};
use crate::agent::status_file::WriteError;
use crate::agent::usage::UsageError;
use ops_config::agent::HeartbeatConfig;
use ops_protocol::heartbeat::Heartbeat;
use ops_protocol::status_file::StatusFile;
use ops_runtime::blocking;
use ops_runtime::durable::Step;
use statemachine::lifecycle::State;

/// The maximum number of heartbeats and messages that acts send beside the agent's own.
const MAX_BESIDE: usize = 256;

pub(crate) struct SimulatedEffects {
    system: Rc<SystemEffects>,
    simulation: Simulation,
    /// The latest record, for an act that begins between two writes.
    record: RefCell<Option<StatusFile>>,
    writing: Mutex<()>,
    heartbeats: HeartbeatAccess,
}

impl SimulatedEffects {
    /// The effects. A task on `executor` lets each act that concerns the status file begin and end at once.
    pub(super) fn start(
        system: Rc<SystemEffects>,
        simulation: Simulation,
        executor: &Rc<LocalExecutor<'static>>,
    ) -> Rc<Self> {
        let heartbeats = HeartbeatAccess {
            system: Rc::clone(&system),
            simulation: simulation.clone(),
            executor: Rc::clone(executor),
            beside: Rc::default(),
        };
        let (record, writing) = (RefCell::new(None), Mutex::new(()));
        let effects = Rc::new(Self { system, simulation, record, writing, heartbeats });
        executor.spawn(Rc::clone(&effects).follow()).detach();
        effects
    }

    pub(super) fn system(&self) -> &SystemEffects {
        &self.system
    }

    async fn follow(self: Rc<Self>) {
        let mut seen = 0;
        let mut in_force = None;
        loop {
            seen = self.simulation.change_after(seen).await;
            let now = self.file_act();
            if now != in_force {
                in_force = now;
                if let Err(error) = self.write().await {
                    tracing::warn!(%error, "the simulated status file was not written");
                }
            }
        }
    }

    fn file_act(&self) -> Option<Act> {
        self.simulation.find(|act| act.behaviour().file().is_some())
    }

    /// Writes the latest record, as the acts in progress want it.
    async fn write(&self) -> Result<(), WriteError> {
        let _writing = self.writing.lock().await;
        let Some(record) = self.record.borrow().clone() else { return Ok(()) };
        let act = self.file_act();
        match act.as_ref().and_then(|act| Some((act, act.behaviour().file()?))) {
            None => self.system.write(record).await,
            Some((act, behaviour)) => {
                let file = FileAccess { system: &self.system, simulation: &self.simulation, act };
                behaviour.write(&file, record).await
            }
        }
    }
}

/// What an act may do with the status file.
pub(crate) struct FileAccess<'a> {
    system: &'a SystemEffects,
    simulation: &'a Simulation,
    act: &'a Act,
}

impl FileAccess<'_> {
    /// Writes a record as the agent does.
    pub(crate) async fn write(&self, record: StatusFile) -> Result<(), WriteError> {
        self.system.write(record).await
    }

    /// Waits until the act is over.
    pub(crate) async fn ended(&self) {
        self.simulation.ended(self.act).await;
    }

    /// Does something with the file at its path, on a thread that may block.
    pub(crate) async fn change(
        &self,
        change: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<(), WriteError> {
        let path: PathBuf = self.system.status_path().to_owned();
        let of = path.clone();
        let changed = blocking::unblock(move || change(&of)).await;
        changed.and_then(|changed| changed).map_err(|source| WriteError { step: Step::Write, path, source })
    }
}

/// What an act may do with heartbeats.
#[derive(Clone)]
pub(crate) struct HeartbeatAccess {
    system: Rc<SystemEffects>,
    simulation: Simulation,
    executor: Rc<LocalExecutor<'static>>,
    /// The number of tasks that send something beside the agent.
    beside: Rc<Cell<usize>>,
}

impl HeartbeatAccess {
    /// Sends a heartbeat as the agent does. The result does not matter.
    pub(crate) async fn send(&self, heartbeat: Heartbeat, limit: Duration) {
        let _ = Rc::clone(&self.system).send(heartbeat, limit).await;
    }

    /// Does something beside the agent. Too much at once is left out.
    pub(crate) fn beside(&self, work: impl Future<Output = ()> + 'static) {
        let beside = Rc::clone(&self.beside);
        if beside.get() >= MAX_BESIDE {
            return;
        }
        beside.set(beside.get() + 1);
        let counted = async move {
            work.await;
            beside.set(beside.get() - 1);
        };
        self.executor.spawn(counted).detach();
    }

    /// Whether nothing is sent beside the agent.
    pub(crate) fn is_idle(&self) -> bool {
        self.beside.get() == 0
    }

    /// Runs `work` until no act of this kind is in progress.
    pub(crate) async fn while_in_progress(&self, act: Act, work: impl Future<Output = ()>) {
        work.or(self.simulation.ended(&act)).await;
    }

    /// Where heartbeats go. `None`: nowhere.
    pub(crate) fn target(&self) -> Option<HeartbeatConfig> {
        self.system.heartbeat_config()
    }
}

impl Effects for SimulatedEffects {
    async fn persist(self: Rc<Self>, snapshot: Rc<Snapshot>) -> Result<(), WriteError> {
        *self.record.borrow_mut() = Some(self.system.record(&snapshot));
        self.write().await
    }

    async fn send(self: Rc<Self>, heartbeat: Heartbeat, limit: Duration) -> DeliveryResult {
        let act = self.simulation.find(|act| act.behaviour().heartbeat().is_some());
        match act.as_ref().and_then(|act| act.behaviour().heartbeat()) {
            None => Rc::clone(&self.system).send(heartbeat, limit).await,
            Some(behaviour) => {
                behaviour.send(&self.heartbeats, heartbeat, limit).await;
                DeliveryResult::Delivered
            }
        }
    }

    fn endpoint(&self) -> Option<String> {
        self.system.endpoint()
    }

    async fn reload(self: Rc<Self>) -> Result<Settings, ReloadError> {
        Rc::clone(&self.system).reload().await
    }

    async fn drain(self: Rc<Self>) {
        let slow = self.simulation.find(|act| !act.behaviour().drain_delay().is_zero());
        if let Some(act) = slow {
            Timer::after(act.behaviour().drain_delay()).await;
        }
        Rc::clone(&self.system).drain().await;
    }

    fn sample(&self) -> Result<Usage, UsageError> {
        self.system.sample()
    }

    fn notify(&self, notice: Notice<'_>) {
        if let Notice::State(snapshot) = notice
            && matches!(snapshot.lifecycle.state(), State::Running | State::Degraded)
        {
            self.simulation.set_ready();
        }
        self.system.notify(notice);
    }
}
