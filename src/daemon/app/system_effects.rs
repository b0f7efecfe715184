//! The effects on the real host: processes, disk, service manager, configuration file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use smol::channel::{Receiver, Sender};
use smol::lock::Semaphore;
use statemachine::supervision::{Exit, Identity, StopSettings};

use super::setup::ConfigSource;
use super::specs::{Agent, Agents};
use crate::daemon::api::socket::WantedSockets;
use crate::daemon::checks::resources::{Counters, OpenFiles, ResourceCheck, SampleError, Usage};
use crate::daemon::checks::{
    CheckResult, ExecCheckResult, HttpCheckResult, ScheduledCheck, StatusFileResult, TcpCheckResult,
};
use crate::daemon::control::{HeartbeatSender, Peer};
use crate::daemon::effects::{Description, Effects, NotStarted, Notice, OutputError, ReloadError, Reloaded, Unproved};
use crate::daemon::hooks::runner::Output;
use crate::daemon::hooks::{HookFacts, Hooks};
use crate::daemon::processes::{
    Cgroups, CheckRuns, IdentityKey, Launch, LogFile, LogPosition, MainExit, NamedSignal, NewOutput, RecordedAgent,
    Run, Starts, Trees, follow, start, tail, tail_of_run,
};
use crate::daemon::registry::{AgentId, Proof, SavedAgent, SavedRegistry};
use crate::daemon::store::{SaveError, Store};
use ops_config::daemon::{DaemonConfig, LogRotation};
use ops_http::Token;
use ops_http::server::ServerIdentity;
use ops_http::tls::Material;
use ops_protocol::views::HooksView;
use ops_runtime::blocking;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::{self, within};
use ops_runtime::service_manager;

/// The number of output lines of an agent that hooks are told.
const HOOK_OUTPUT_LINES: usize = 10;

/// How long a hook waits for the output of an agent. Only a disk that does not answer takes longer.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(5);

/// The parts of [`SystemEffects`].
pub(super) struct SystemEffectsConfig {
    pub(super) source: ConfigSource,
    pub(super) config: DaemonConfig,
    pub(super) agents: Agents,
    pub(super) store: Store,
    /// The key of start secrets.
    pub(super) key: IdentityKey,
    /// The records of starts.
    pub(super) starts: Starts,
    /// Where the agents get cgroups.
    pub(super) cgroups: Option<Cgroups>,
    /// The contents of the TLS files.
    pub(super) tls: Material,
    /// The certificate of the server, which a reload replaces.
    pub(super) certificate: Option<ServerIdentity>,
    /// The token of the server. A reload replaces its text.
    pub(super) token: Option<Token>,
}

pub(super) struct SystemEffects {
    pub(super) source: ConfigSource,
    /// Without its agents, which are in `agents`.
    pub(super) config: RefCell<DaemonConfig>,
    pub(super) agents: RefCell<Agents>,
    pub(super) trees: Trees,
    pub(super) key: IdentityKey,
    pub(super) starts: Starts,
    /// The sockets that agents of the present configuration have of their own.
    pub(super) sockets: (Sender<WantedSockets>, Receiver<WantedSockets>),
    /// Requests to look at the agents' logs before it is time.
    pub(super) looks: (Sender<()>, Receiver<()>),
    /// One for each start at the same time, which holds a thread and a socket until its program is executed.
    pub(super) start_permits: RefCell<Rc<Semaphore>>,
    /// The variables that the two programs read as overrides of a key. Agents do not inherit them.
    overrides: Vec<String>,
    check_runs: CheckRuns,
    usage: RefCell<HashMap<AgentId, ResourceCheck>>,
    /// The log of each agent as it was before the first output of its latest process. Outlives the process.
    pub(super) log_before: RefCell<HashMap<AgentId, (Identity, LogFile)>>,
    store: Store,
    pub(super) hooks: Hooks,
    pub(super) tls: RefCell<Material>,
    pub(super) certificate: Option<ServerIdentity>,
    pub(super) token: Option<Token>,
}

impl SystemEffects {
    pub(super) fn new(config: SystemEffectsConfig) -> Self {
        let SystemEffectsConfig { source, config, agents, store, key, starts, cgroups, tls, certificate, token } =
            config;
        let overrides = ops_config::override_variables();
        let work_dir = agents.base_dirs().work_dir().to_owned();
        let hooks = Hooks::new(&config.hooks, &tls, work_dir, overrides.clone());
        Self {
            sockets: smol::channel::bounded(1),
            looks: smol::channel::bounded(1),
            start_permits: RefCell::new(Rc::new(Semaphore::new(config.start_limit))),
            source,
            config: RefCell::new(config),
            agents: RefCell::new(agents),
            trees: Trees::in_cgroups(cgroups),
            key,
            starts,
            overrides,
            check_runs: CheckRuns::default(),
            usage: RefCell::default(),
            log_before: RefCell::default(),
            store,
            hooks,
            tls: RefCell::new(tls),
            certificate,
            token,
        }
    }

    fn agent(&self, id: &str) -> Option<Rc<Agent>> {
        self.agents.borrow().get(id).map(Rc::clone)
    }

    fn output_dir(&self, id: &AgentId) -> Result<PathBuf, OutputError> {
        let agent = self.agent(id).ok_or(OutputError::NotConfigured)?;
        Ok(self.agents.borrow().work_dir(&agent))
    }

    /// Where each agent has its log, and how it is rotated.
    pub(super) fn log_rotations(&self) -> Vec<(AgentId, PathBuf, LogRotation)> {
        let agents = self.agents.borrow();
        agents.iter().map(|(id, agent)| (AgentId::clone(id), agents.work_dir(agent), agent.log_rotation())).collect()
    }

    /// Samples the tree. After a restart the history of samples begins anew.
    async fn sample(&self, id: &AgentId, main: Identity, agent: Option<&Agent>) -> Result<Usage, SampleError> {
        let unreadable = |error: io::Error| SampleError::Unreadable(error.to_string());
        let memory_threshold = agent.and_then(Agent::memory_threshold);
        // Less than an interval, so that the next sample is of another look.
        let max_age = agent.map_or(Duration::ZERO, |agent| agent.interval() * 9 / 10);
        let usage = self.trees.usage(main, max_age, memory_threshold).await.map_err(unreadable)?;
        let usage = usage.ok_or(SampleError::Gone)?;
        let mut memory_bytes = usage.resident_bytes;
        // After a fork the processes share most pages, so the sum of RSS may be many times the memory.
        if usage.processes > 1 && memory_threshold.is_some_and(|threshold| memory_bytes > threshold) {
            let proportional = self.trees.proportional_memory(main).await.map_err(unreadable)?;
            memory_bytes = proportional.ok_or(SampleError::Gone)?;
        }
        let open_files = match agent {
            Some(agent) if agent.counts_open_files() => self.open_files(main).await?,
            Some(_) | None => OpenFiles::NotCounted,
        };
        let mut checks = self.usage.borrow_mut();
        let check = checks.entry(AgentId::clone(id)).or_insert_with(|| ResourceCheck::new(main));
        if check.main() != main {
            *check = ResourceCheck::new(main);
        }
        Ok(check.sample(Counters { cpu_ticks: usage.cpu_ticks, memory_bytes, open_files, at: usage.at }))
    }

    /// The open files of a tree. It was found before, so only files of a process of another user cannot be counted.
    async fn open_files(&self, main: Identity) -> Result<OpenFiles, SampleError> {
        match self.trees.open_files(main).await {
            Ok(number) => number.map(OpenFiles::Counted).ok_or(SampleError::Gone),
            Err(error) => match Errno::from_io_error(&error) {
                Some(errno) => Ok(OpenFiles::Unreadable(errno)),
                None => Err(SampleError::Unreadable(error.to_string())),
            },
        }
    }

    /// Runs the program that checks an agent.
    async fn run_check(&self, id: &AgentId, agent: Option<&Agent>) -> ExecCheckResult {
        let command = agent.and_then(|agent| self.agents.borrow().check_command(agent, &self.overrides));
        let Some((command, timeout)) = command else {
            return ExecCheckResult::NotTried("the agent is no longer configured".to_owned());
        };
        let (end, output) = self.check_runs.run(&self.trees, id, command, timeout).await;
        ExecCheckResult::of(&end, &output, timeout)
    }

    /// The result, in which any member of the tree counts as its main process.
    fn with_writer(&self, main: Identity, result: StatusFileResult) -> StatusFileResult {
        match result {
            StatusFileResult::Read(mut facts) => {
                facts.pid = facts.pid.map(|pid| if self.trees.is_member(main, pid) { main.pid } else { pid });
                StatusFileResult::Read(facts)
            }
            other @ (StatusFileResult::Damaged(_) | StatusFileResult::Missing | StatusFileResult::NotRead(_)) => other,
        }
    }

    /// What to start. `None`: the agent is no longer configured.
    fn launch(&self, id: &str) -> Option<io::Result<Launch>> {
        let agents = self.agents.borrow();
        let agent = agents.get(id)?;
        let secret = self.key.issue(id);
        Some(secret.map(|secret| agents.launch(agent, secret, &self.overrides, self.trees.cgroups().cloned())))
    }
}

impl Effects for SystemEffects {
    async fn save(self: Rc<Self>, saved: SavedRegistry) -> Result<(), SaveError> {
        let starts = self.starts.clone();
        let known = |agent: &SavedAgent| RecordedAgent { stopped: agent.is_stopped(), proved: agent.has_proved };
        let agents: Vec<(String, RecordedAgent)> =
            saved.agents.iter().map(|(id, agent)| (id.clone(), known(agent))).collect();
        let recorded =
            blocking::unblock(move || starts.record(&agents.iter().map(|(id, agent)| (id.as_str(), *agent)).collect()));
        if let Ok(Err(error)) = recorded.await {
            tracing::warn!(%error, "requested stops and proofs are recorded in the registry alone");
        }
        self.store.save(saved).await
    }

    async fn spawn(self: Rc<Self>, id: AgentId) -> Result<Identity, NotStarted> {
        let not_configured = || NotStarted { reason: "the agent is no longer configured".to_owned(), own_fault: false };
        let no_secret = |error: io::Error| NotStarted { reason: format!("no start secret: {error}"), own_fault: true };
        let launch = self.launch(&id).ok_or_else(not_configured)?.map_err(no_secret)?;
        let (starts, recorded, secret) = (self.starts.clone(), AgentId::clone(&id), launch.secret.clone());
        let record = move |process, user| {
            if let Err(error) = starts.started(&recorded, &secret, process, user) {
                tracing::warn!(agent_id = %recorded, %error, "the start is not recorded: the next daemon has to find it by its secret");
            }
        };
        // Held until the program is executed.
        let permits = Rc::clone(&self.start_permits.borrow());
        let _permit = permits.acquire().await;
        let started = start(launch, record).await;
        let started =
            started.map_err(|error| NotStarted { reason: with_causes(&error), own_fault: error.is_own_fault() })?;
        let log = started.log;
        let main = self.trees.insert(started);
        self.log_before.borrow_mut().insert(id, (main, log));
        Ok(main)
    }

    async fn find(self: Rc<Self>, search: Unproved) -> Option<Identity> {
        self.search_until_known(&search).await
    }

    async fn main_exited(self: Rc<Self>, main: Identity) -> MainExit {
        self.trees.main_exited(main).await.unwrap_or(MainExit { exit: Exit::Unseen, left: 0 })
    }

    async fn emptied(self: Rc<Self>, main: Identity) {
        self.trees.emptied(main).await;
    }

    async fn stop(self: Rc<Self>, main: Identity, settings: StopSettings) -> Option<String> {
        self.trees.stop(main, settings).await
    }

    async fn kill(self: Rc<Self>, main: Identity) -> Option<String> {
        self.trees.kill(main).await
    }

    fn signal(&self, main: Identity, signal: NamedSignal) -> io::Result<()> {
        self.trees.signal(main, signal)
    }

    fn reap(&self, main: Identity) {
        self.trees.reap(main);
    }

    fn prove(&self, main: Identity, pid: u32, sender: &HeartbeatSender<'_>) -> Proof {
        let is_in_tree = |pid: u32| self.trees.is_member(main, pid);
        if sender.secret.is_some_and(|presented| self.trees.has_secret(main, presented)) {
            return Proof::Proved;
        }
        match sender.peer {
            Peer::Process { pid: Some(peer), .. } if is_in_tree(peer) => Proof::Proved,
            Peer::Process { is_owner: true, .. } if is_in_tree(pid) => Proof::Proved,
            // A wrong secret is that of another start.
            Peer::Local if sender.secret.is_none() && is_in_tree(pid) => Proof::Named,
            Peer::Process { .. } | Peer::Local | Peer::Remote => Proof::Nothing,
        }
    }

    fn tree_of(&self, pid: u32, sender: &HeartbeatSender<'_>) -> Option<Identity> {
        let by_secret = sender.secret.and_then(|presented| self.trees.with_secret(presented));
        let by_peer = || match sender.peer {
            Peer::Process { pid: peer, .. } => self.trees.tree_of(peer?),
            Peer::Local | Peer::Remote => None,
        };
        by_secret.or_else(by_peer).or_else(|| self.trees.tree_of(pid))
    }

    async fn check(self: Rc<Self>, id: AgentId, process: Identity, check: ScheduledCheck) -> CheckResult {
        let agent = self.agent(&id);
        let gone = || "the agent is no longer configured".to_owned();
        match check {
            ScheduledCheck::Resources => CheckResult::Resources(self.sample(&id, process, agent.as_deref()).await),
            ScheduledCheck::StatusFile => {
                CheckResult::StatusFile(match agent.as_ref().and_then(|agent| agent.status_file.as_ref()) {
                    Some(check) => self.with_writer(process, check.check().await),
                    None => StatusFileResult::NotRead(gone()),
                })
            }
            ScheduledCheck::Exec => CheckResult::Exec(Box::pin(self.run_check(&id, agent.as_deref())).await),
            ScheduledCheck::Tcp => CheckResult::Tcp(match agent.as_ref().and_then(|agent| agent.tcp.as_ref()) {
                Some(check) => Box::pin(check.check()).await,
                None => TcpCheckResult::NotTried(gone()),
            }),
            ScheduledCheck::Http => CheckResult::Http(match agent.as_ref().and_then(|agent| agent.http.as_ref()) {
                // Boxed, because every check would otherwise be as large as this one.
                Some(check) => Box::pin(check.check()).await,
                None => HttpCheckResult::NotTried(gone()),
            }),
        }
    }

    fn last_output(
        self: Rc<Self>,
        id: AgentId,
        main: Identity,
        lines: usize,
    ) -> impl Future<Output = Result<Vec<String>, OutputError>> {
        let from = self.log_before.borrow().get(&id).filter(|(started, _)| *started == main).map(|(_, log)| log.length);
        let run = Run { from, ended: clock::wall() };
        async move {
            let work_dir = self.output_dir(&id)?;
            tail_of_run(&work_dir, run, lines).await.map_err(|error| unreadable_output(&work_dir, error))
        }
    }

    async fn logs(self: Rc<Self>, id: AgentId, lines: usize) -> Result<Vec<String>, OutputError> {
        let work_dir = self.output_dir(&id)?;
        tail(&work_dir, 0, lines).await.map_err(|error| unreadable_output(&work_dir, error))
    }

    async fn new_output(
        self: Rc<Self>,
        id: AgentId,
        position: Option<LogPosition>,
        lines: usize,
    ) -> Result<NewOutput, OutputError> {
        let work_dir = self.output_dir(&id)?;
        follow(&work_dir, position, lines).await.map_err(|error| unreadable_output(&work_dir, error))
    }

    fn describe(&self, id: &str) -> Option<Description> {
        Some(self.agents.borrow().get(id)?.describe(self.config.borrow().sd_address.as_deref()))
    }

    async fn reload(self: Rc<Self>) -> Result<Reloaded, ReloadError> {
        self.reload_config().await
    }

    fn hook(self: Rc<Self>, facts: HookFacts) {
        let agent = facts.agent.as_ref();
        let output = || {
            let agent = agent?;
            let lines = Rc::clone(&self).last_output(AgentId::clone(&agent.id), agent.process?, HOOK_OUTPUT_LINES);
            let lines = async { within(OUTPUT_TIMEOUT, lines).await.and_then(Result::ok).unwrap_or_default() };
            Some(Box::pin(lines) as Output)
        };
        self.hooks.report(&facts, || self.describe(&agent?.id), output);
    }

    fn hooks(&self) -> Option<HooksView> {
        self.hooks.view()
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

fn unreadable_output(work_dir: &Path, error: io::Error) -> OutputError {
    OutputError::Unreadable { directory: work_dir.join("logs"), error }
}
