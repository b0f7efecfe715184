//! The effects on the real host: processes, disk, service manager, configuration file.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use statemachine::supervision::{Exit, Identity, Signal};

use super::setup::ConfigSource;
use super::specs::{Agent, Agents};
use crate::daemon::checks::{CheckResult, HttpCheckResult, ResourceCheck, ScheduledCheck, StatusFileResult};
use crate::daemon::effects::{Effects, NotStarted, Notice, OutputError, ReloadError};
use crate::daemon::processes::{Process, Rotation, SupervisionTag, find, rotate, start, tail};
use crate::daemon::registry::{AgentId, DesiredAgent, Registry, SavedRegistry};
use crate::daemon::store::{SaveError, Store};
use ops_config::daemon::DaemonConfig;
use ops_http::server::ServerIdentity;
use ops_http::tls::Material;
use ops_runtime::causes::with_causes;
use ops_runtime::service_manager;

/// The interval at which the sizes of the agents' logs are checked.
const ROTATION_INTERVAL: Duration = Duration::from_secs(15);

/// How often, and how far apart, the daemon tries to prove that a process is the recorded one.
const ADOPTION_ATTEMPTS: u32 = 20;
const ADOPTION_INTERVAL: Duration = Duration::from_millis(100);

/// The parts of [`SystemEffects`].
pub(super) struct SystemEffectsConfig {
    pub(super) source: ConfigSource,
    pub(super) config: DaemonConfig,
    pub(super) agents: Agents,
    pub(super) store: Store,
    /// The contents of the TLS files.
    pub(super) tls: Material,
    /// The certificate of the server, which a reload replaces.
    pub(super) certificate: Option<ServerIdentity>,
}

pub(super) struct SystemEffects {
    pub(super) source: ConfigSource,
    /// Without its agents, which are in `agents`.
    pub(super) config: RefCell<DaemonConfig>,
    pub(super) agents: RefCell<Agents>,
    processes: RefCell<HashMap<Identity, Rc<Process>>>,
    usage: RefCell<HashMap<AgentId, ResourceCheck>>,
    /// Where in its log the output of each agent's latest process begins. Outlives the process.
    output_from: RefCell<HashMap<AgentId, u64>>,
    store: Store,
    pub(super) tls: RefCell<Material>,
    pub(super) certificate: Option<ServerIdentity>,
}

impl SystemEffects {
    pub(super) fn new(config: SystemEffectsConfig) -> Self {
        let SystemEffectsConfig { source, config, agents, store, tls, certificate } = config;
        Self {
            source,
            config: RefCell::new(config),
            agents: RefCell::new(agents),
            processes: RefCell::default(),
            usage: RefCell::default(),
            output_from: RefCell::default(),
            store,
            tls: RefCell::new(tls),
            certificate,
        }
    }

    /// Finds the registry's agents that have a process already. Each process is proved to be the agent's.
    ///
    /// # Errors
    ///
    /// If the processes cannot be listed. Then nothing may be started, because an agent could run twice.
    pub(super) async fn find(&self, registry: &Registry) -> io::Result<HashMap<AgentId, Identity>> {
        let mut found = HashMap::new();
        let mut unknown = HashMap::new();
        for (id, _) in registry.iter() {
            let tag = self.agents.borrow().tag(id);
            let process = match registry.recorded_process(id) {
                Some(identity) => self.adopt(identity, &tag).await?,
                None => None,
            };
            match process {
                Some(identity) => drop(found.insert(AgentId::clone(id), identity)),
                None => drop(unknown.insert(tag, AgentId::clone(id))),
            }
        }
        // An earlier daemon may have died between the start of a process and the record of it.
        for (tag, identity) in find(unknown.keys().cloned().collect()).await? {
            if let Some(id) = unknown.remove(&tag)
                && let Some(identity) = self.adopt(identity, &tag).await?
            {
                found.insert(id, identity);
            }
        }
        Ok(found)
    }

    async fn adopt(&self, identity: Identity, tag: &SupervisionTag) -> io::Result<Option<Identity>> {
        let mut attempts = 0;
        loop {
            match Process::adopt(identity, tag.clone()) {
                Ok(None) => return Ok(None),
                Ok(Some(process)) => {
                    self.processes.borrow_mut().insert(identity, Rc::new(process));
                    return Ok(Some(identity));
                }
                Err(error) if attempts >= ADOPTION_ATTEMPTS => return Err(error),
                Err(_) => attempts += 1,
            }
            async_io::Timer::after(ADOPTION_INTERVAL).await;
        }
    }

    /// Rotates the agents' logs, for as long as the daemon runs.
    pub(super) async fn rotate_for_ever(self: Rc<Self>) {
        let mut failing = HashSet::new();
        loop {
            async_io::Timer::after(ROTATION_INTERVAL).await;
            for (id, work_dir) in self.work_dirs() {
                match rotate(&work_dir, Rotation::default()).await {
                    Ok(_) => drop(failing.remove(&id)),
                    Err(error) => {
                        if failing.insert(AgentId::clone(&id)) {
                            tracing::warn!(agent_id = %id, %error, "the log of the agent cannot be rotated and keeps growing");
                        }
                    }
                }
            }
        }
    }

    fn agent(&self, id: &str) -> Option<Rc<Agent>> {
        self.agents.borrow().get(id).map(Rc::clone)
    }

    async fn output(&self, id: &AgentId, from: u64, lines: usize) -> Result<Vec<String>, OutputError> {
        let agent = self.agent(id).ok_or(OutputError::NotConfigured)?;
        let work_dir = self.agents.borrow().work_dir(&agent);
        tail(&work_dir, from, lines)
            .await
            .map_err(|error| OutputError::Unreadable { directory: work_dir.join("logs"), error })
    }

    fn work_dirs(&self) -> Vec<(AgentId, PathBuf)> {
        let agents = self.agents.borrow();
        agents.iter().map(|(id, agent)| (AgentId::clone(id), agents.work_dir(agent))).collect()
    }

    fn process(&self, identity: Identity) -> Option<Rc<Process>> {
        self.processes.borrow().get(&identity).map(Rc::clone)
    }

    /// Samples the process. After a restart the history of samples begins anew.
    fn sample(&self, id: &AgentId, process: Identity) -> CheckResult {
        let mut checks = self.usage.borrow_mut();
        let check = checks.entry(AgentId::clone(id)).or_insert_with(|| ResourceCheck::new(process));
        if check.process() != process {
            *check = ResourceCheck::new(process);
        }
        CheckResult::Resources(check.sample())
    }
}

impl Effects for SystemEffects {
    async fn save(self: Rc<Self>, saved: SavedRegistry) -> Result<(), SaveError> {
        self.store.save(saved).await
    }

    async fn spawn(self: Rc<Self>, id: AgentId) -> Result<Identity, NotStarted> {
        let launch = self.agent(&id).map(|agent| self.agents.borrow().launch(&agent));
        let Some(launch) = launch else {
            let reason = "the agent is no longer configured".to_owned();
            return Err(NotStarted { reason, own_fault: false });
        };
        let started = start(launch).await;
        let process =
            started.map_err(|error| NotStarted { reason: with_causes(&error), own_fault: error.is_own_fault() })?;
        let identity = process.identity();
        self.output_from.borrow_mut().insert(id, process.output_from());
        self.processes.borrow_mut().insert(identity, Rc::new(process));
        Ok(identity)
    }

    async fn ended(self: Rc<Self>, process: Identity) -> Exit {
        match self.process(process) {
            Some(process) => process.exited().await,
            None => Exit::Unseen,
        }
    }

    fn signal(&self, identity: Identity, signal: Signal) {
        if let Some(process) = self.process(identity)
            && let Err(error) = process.signal(signal)
        {
            tracing::error!(pid = identity.pid, ?signal, %error, "the process cannot be signalled");
        }
    }

    async fn sweep(self: Rc<Self>, identity: Identity) {
        let process = self.processes.borrow_mut().remove(&identity);
        if let Some(process) = process
            && let Err(error) = process.kill_remaining().await
        {
            tracing::error!(pid = identity.pid, %error, "the remaining processes of the group cannot be killed");
        }
    }

    async fn check(self: Rc<Self>, id: AgentId, process: Identity, check: ScheduledCheck) -> CheckResult {
        let agent = self.agent(&id);
        let gone = || "the agent is no longer configured".to_owned();
        match check {
            ScheduledCheck::Resources => self.sample(&id, process),
            ScheduledCheck::StatusFile => {
                CheckResult::StatusFile(match agent.as_ref().and_then(|agent| agent.status_file.as_ref()) {
                    Some(check) => check.check().await,
                    None => StatusFileResult::NotRead(gone()),
                })
            }
            ScheduledCheck::Http => CheckResult::Http(match agent.as_ref().and_then(|agent| agent.http.as_ref()) {
                Some(check) => check.check().await,
                None => HttpCheckResult::NotTried(gone()),
            }),
        }
    }

    async fn last_output(self: Rc<Self>, id: AgentId, lines: usize) -> Result<Vec<String>, OutputError> {
        let from = self.output_from.borrow().get(&id).copied().unwrap_or_default();
        self.output(&id, from, lines).await
    }

    async fn logs(self: Rc<Self>, id: AgentId, lines: usize) -> Result<Vec<String>, OutputError> {
        self.output(&id, 0, lines).await
    }

    fn endpoint(&self, id: &str) -> Option<String> {
        self.agents.borrow().get(id)?.endpoint()
    }

    async fn reload(self: Rc<Self>) -> Result<Vec<DesiredAgent>, ReloadError> {
        self.reload_config().await
    }

    fn notify(&self, notice: Notice<'_>) {
        match notice {
            Notice::Working(status) => service_manager::ready(status),
            Notice::Reloading => service_manager::reloading(),
            Notice::Stopping(status) => service_manager::stopping(status),
            Notice::Alive => service_manager::alive(),
        }
    }
}
