//! The real host: processes, disk, service manager, configuration file.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use statemachine::supervision::{Exit, Identity, Signal};

use super::setup::ConfigSource;
use super::specs::{Agent, Agents};
use crate::daemon::checks::ResourceCheck;
use crate::daemon::effects::{Effects, NotStarted, Notice};
use crate::daemon::processes::{Process, Rotation, SupervisionTag, find, rotate, start, tail};
use crate::daemon::registry::{AgentId, CheckResult, DesiredAgent, Registry, SavedRegistry};
use crate::daemon::store::Store;
use crate::daemon::verdict::{Check, HttpCheckResult, StatusFileResult};
use ops_config::daemon::DaemonConfig;
use ops_http::server::Proof;
use ops_http::tls::Material;
use ops_runtime::causes::with_causes;
use ops_runtime::service_manager;

/// From one look at the sizes of the agents' logs to the next.
const ROTATE_EVERY: Duration = Duration::from_secs(15);

/// How often it is tried to tell whether a process is the one on record, and how far apart.
const PROOFS: u32 = 20;
const BETWEEN_PROOFS: Duration = Duration::from_millis(100);

/// What the world is made of.
pub(super) struct SystemEffectsConfig {
    pub(super) source: ConfigSource,
    pub(super) config: DaemonConfig,
    pub(super) agents: Agents,
    pub(super) store: Store,
    /// What the files for TLS say.
    pub(super) tls: Material,
    /// What the server proves itself by.
    pub(super) proof: Option<Proof>,
}

pub(super) struct SystemEffects {
    pub(super) source: ConfigSource,
    /// But for its agents.
    pub(super) config: RefCell<DaemonConfig>,
    pub(super) agents: RefCell<Agents>,
    processes: RefCell<HashMap<Identity, Rc<Process>>>,
    usage: RefCell<HashMap<AgentId, ResourceCheck>>,
    store: Store,
    pub(super) tls: RefCell<Material>,
    pub(super) proof: Option<Proof>,
}

impl SystemEffects {
    pub(super) fn new(machinery: SystemEffectsConfig) -> Self {
        let SystemEffectsConfig { source, config, agents, store, tls, proof } = machinery;
        Self {
            source,
            config: RefCell::new(config),
            agents: RefCell::new(agents),
            processes: RefCell::default(),
            usage: RefCell::default(),
            store,
            tls: RefCell::new(tls),
            proof,
        }
    }

    /// Which of the registry's agents have a process already, each proved.
    ///
    /// # Errors
    ///
    /// If that cannot be told. Then nothing may be started: it could be there twice.
    pub(super) async fn find(&self, registry: &Registry) -> io::Result<HashMap<AgentId, Identity>> {
        let mut found = HashMap::new();
        let mut unknown = HashMap::new();
        for (id, _) in registry.iter() {
            let mark = self.agents.borrow().mark(id);
            let process = match registry.on_record(id) {
                Some(identity) => self.adopt(identity, &mark).await?,
                None => None,
            };
            match process {
                Some(identity) => drop(found.insert(AgentId::clone(id), identity)),
                None => drop(unknown.insert(mark, AgentId::clone(id))),
            }
        }
        // An earlier daemon may have died between starting a process and putting it on record.
        for (mark, identity) in find(unknown.keys().cloned().collect()).await? {
            if let Some(id) = unknown.remove(&mark)
                && let Some(identity) = self.adopt(identity, &mark).await?
            {
                found.insert(id, identity);
            }
        }
        Ok(found)
    }

    async fn adopt(&self, identity: Identity, mark: &SupervisionTag) -> io::Result<Option<Identity>> {
        let mut tries = 0;
        loop {
            match Process::adopt(identity, mark.clone()) {
                Ok(None) => return Ok(None),
                Ok(Some(process)) => {
                    self.processes.borrow_mut().insert(identity, Rc::new(process));
                    return Ok(Some(identity));
                }
                Err(error) if tries >= PROOFS => return Err(error),
                Err(_) => tries += 1,
            }
            async_io::Timer::after(BETWEEN_PROOFS).await;
        }
    }

    /// Keeps the agents' logs from growing for ever.
    pub(super) async fn rotate_for_ever(self: Rc<Self>) {
        let mut failing = HashSet::new();
        loop {
            async_io::Timer::after(ROTATE_EVERY).await;
            for (id, work_dir) in self.work_dirs() {
                match rotate(&work_dir, Rotation::default()).await {
                    Ok(_) => drop(failing.remove(&id)),
                    Err(error) => {
                        if failing.insert(AgentId::clone(&id)) {
                            tracing::warn!(agent_id = %id, %error, "its log cannot be rotated, and grows");
                        }
                    }
                }
            }
        }
    }

    fn agent(&self, id: &str) -> Option<Rc<Agent>> {
        self.agents.borrow().get(id).map(Rc::clone)
    }

    fn work_dirs(&self) -> Vec<(AgentId, PathBuf)> {
        let agents = self.agents.borrow();
        agents.iter().map(|(id, agent)| (AgentId::clone(id), agents.work_dir(agent))).collect()
    }

    fn process(&self, identity: Identity) -> Option<Rc<Process>> {
        self.processes.borrow().get(&identity).map(Rc::clone)
    }

    /// A sample every time, of this process or, after a restart, from scratch.
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
    async fn save(self: Rc<Self>, saved: SavedRegistry) -> Result<(), String> {
        self.store.save(saved).await.map_err(|error| with_causes(&error))
    }

    async fn spawn(self: Rc<Self>, id: AgentId) -> Result<Identity, NotStarted> {
        let launch = self.agent(&id).map(|agent| self.agents.borrow().launch(&agent));
        let Some(launch) = launch else {
            let reason = "it is not in the configuration any more".to_owned();
            return Err(NotStarted { reason, own_fault: false });
        };
        let started = start(launch).await;
        let process =
            started.map_err(|error| NotStarted { reason: with_causes(&error), own_fault: error.is_own_fault() })?;
        let identity = process.identity();
        self.processes.borrow_mut().insert(identity, Rc::new(process));
        Ok(identity)
    }

    async fn ended(self: Rc<Self>, process: Identity) -> Exit {
        match self.process(process) {
            Some(process) => process.ended().await,
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
            && let Err(error) = process.sweep().await
        {
            tracing::error!(pid = identity.pid, %error, "what it left behind cannot be killed");
        }
    }

    async fn check(self: Rc<Self>, id: AgentId, process: Identity, check: Check) -> CheckResult {
        let agent = self.agent(&id);
        let gone = || "it is not in the configuration any more".to_owned();
        match check {
            Check::Resources => self.sample(&id, process),
            Check::StatusFile => {
                CheckResult::StatusFile(match agent.as_ref().and_then(|agent| agent.status_file.as_ref()) {
                    Some(check) => check.check().await,
                    None => StatusFileResult::NotRead(gone()),
                })
            }
            Check::Http | Check::Process | Check::Heartbeat => {
                CheckResult::Http(match agent.as_ref().and_then(|agent| agent.http.as_ref()) {
                    Some(check) => check.check().await,
                    None => HttpCheckResult::NotTried(gone()),
                })
            }
        }
    }

    async fn logs(self: Rc<Self>, id: AgentId, lines: usize) -> Result<Vec<String>, String> {
        let agent = self.agent(&id).ok_or("it is not in the configuration any more: look into its work_dir")?;
        let work_dir = self.agents.borrow().work_dir(&agent);
        tail(&work_dir, 0, lines)
            .await
            .map_err(|error| format!("the log in {} cannot be read: {error}", work_dir.join("logs").display()))
    }

    fn endpoint(&self, id: &str) -> Option<String> {
        self.agents.borrow().get(id)?.endpoint()
    }

    async fn reload(self: Rc<Self>) -> Result<Vec<DesiredAgent>, String> {
        self.read_again().await
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
