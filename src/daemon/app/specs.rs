//! Turns the configuration of each agent into what starting, checking and the registry need.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::daemon::api::socket::{AgentSocket, Takes};
use crate::daemon::checks::CheckLimits;
use crate::daemon::checks::{HttpCheck, StatusFileCheck, TcpCheck};
use crate::daemon::effects::{CheckSetupError, Description};
use crate::daemon::processes::descriptors::limit_of_agents;
use crate::daemon::processes::environment::{of_agent, of_check, variable};
use crate::daemon::processes::launcher;
use crate::daemon::processes::secret::StartSecret;
use crate::daemon::processes::{Cgroups, CheckCommand, Launch, canonical_work_dir};
use crate::daemon::registry::{AgentId, DesiredAgent};
use ops_config::daemon::{
    AgentKind, AgentSpec, Command, DaemonConfig, HeartbeatProof, LogRotation, ProcessAttributes, ReadyBy, notify_socket,
};
use ops_http::tls::Material;

/// All agents of a configuration.
#[derive(Debug)]
pub(super) struct Agents {
    base_dirs: BaseDirs,
    by_id: HashMap<AgentId, Rc<Agent>>,
}

/// The daemon's directories. They do not change while it runs.
#[derive(Debug, Clone)]
pub(super) struct BaseDirs {
    /// The daemon's current directory, against which relative paths are resolved.
    current: PathBuf,
    /// Its work directory, as tags name it.
    work_dir: PathBuf,
}

/// One agent. There may be thousands, so what only a start needs is computed at the start.
#[derive(Debug)]
pub(super) struct Agent {
    spec: AgentSpec,
    /// Boxed, because it is large and many agents have none.
    pub(super) http: Option<Box<HttpCheck>>,
    pub(super) tcp: Option<Box<TcpCheck>>,
    pub(super) status_file: Option<StatusFileCheck>,
}

impl BaseDirs {
    /// Finds the directories. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// If the current directory no longer exists.
    pub(super) fn find(work_dir: &Path) -> io::Result<Self> {
        let current = std::env::current_dir()?;
        Ok(Self { current, work_dir: canonical_work_dir(work_dir) })
    }

    /// The work directory of the daemon.
    pub(super) fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// Finds the cgroup that is delegated to the daemon. Without one, the members of a tree are found in `/proc` alone.
    pub(super) fn cgroups(&self) -> Option<Cgroups> {
        let found = Cgroups::find(fnv(self.work_dir.as_os_str().as_bytes()));
        match &found {
            Ok(Some(cgroups)) => {
                tracing::info!(cgroup = %cgroups.directory().display(), "each agent gets a cgroup of its own");
            }
            Ok(None) => tracing::info!("no cgroup is delegated to the daemon: members of agents are found in /proc"),
            Err(error) => {
                tracing::warn!(%error, "the daemon's cgroup cannot be used: members of agents are found in /proc");
            }
        }
        found.ok().flatten()
    }
}

impl Agents {
    /// Takes the agents out of a configuration.
    ///
    /// # Errors
    ///
    /// If a check cannot be set up as configured.
    pub(super) fn take_from(
        config: &mut DaemonConfig,
        base_dirs: BaseDirs,
        tls: &Material,
    ) -> Result<Self, CheckSetupError> {
        // Cloned, because the parsed values are scattered over the memory of the parser and would keep all of it.
        let one = |spec: &AgentSpec| {
            Ok((spec.id.as_str().into(), Rc::new(Agent::new(spec.clone(), tls, &base_dirs.current)?)))
        };
        let by_id = std::mem::take(&mut config.agents).iter().map(one).collect::<Result<_, CheckSetupError>>()?;
        Ok(Self { base_dirs, by_id })
    }

    pub(super) const fn base_dirs(&self) -> &BaseDirs {
        &self.base_dirs
    }

    pub(super) fn get(&self, id: &str) -> Option<&Rc<Agent>> {
        self.by_id.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&AgentId, &Rc<Agent>)> {
        self.by_id.iter()
    }

    /// The agents as configured.
    pub(super) fn specs(&self) -> impl Iterator<Item = &AgentSpec> {
        self.by_id.values().map(|agent| &agent.spec)
    }

    /// The configuration of each agent for the registry.
    pub(super) fn desired(&self) -> Vec<DesiredAgent> {
        self.by_id.iter().map(|(id, agent)| self.desired_agent(id, agent)).collect()
    }

    /// The sockets of agents that have one of their own.
    pub(super) fn sockets(&self) -> Vec<AgentSocket> {
        let of = |id: &AgentId, agent: &Agent, path: PathBuf, takes: Takes| {
            let user = agent.user().map(str::to_owned);
            AgentSocket { agent: AgentId::clone(id), path: self.base_dirs.current.join(path), user, takes }
        };
        let heartbeats = |(id, agent): (&AgentId, &Rc<Agent>)| {
            Some(of(id, agent, agent.spec.socket_path.clone()?, Takes::Heartbeats))
        };
        let notifications =
            |(id, agent): (&AgentId, &Rc<Agent>)| Some(of(id, agent, self.notify_socket(agent)?, Takes::Notifications));
        self.by_id.iter().filter_map(heartbeats).chain(self.by_id.iter().filter_map(notifications)).collect()
    }

    /// The socket that the agent sends notifications to, if its start ends with one.
    fn notify_socket(&self, agent: &Agent) -> Option<PathBuf> {
        let is_wanted = agent.spec.readiness.is_some_and(|readiness| readiness.by == ReadyBy::Notify);
        is_wanted.then(|| notify_socket(&self.base_dirs.work_dir, &agent.spec.id))
    }

    /// What to start. `overrides` are variables that the agent does not inherit.
    pub(super) fn launch(
        &self,
        agent: &Agent,
        secret: StartSecret,
        overrides: &[String],
        cgroups: Option<Cgroups>,
    ) -> Launch {
        let spec = &agent.spec;
        let mut environment = of_agent(std::env::vars_os(), overrides, &spec.id, &self.base_dirs.work_dir, &secret);
        if let Some(socket) = self.notify_socket(agent) {
            environment.push(variable(OsStr::new("NOTIFY_SOCKET"), socket.as_os_str()));
        }
        Launch {
            binary: spec.binary_path.clone(),
            args: spec.arguments(&self.base_dirs.current),
            work_dir: self.work_dir(agent),
            daemon_dir: self.base_dirs.work_dir.clone(),
            environment,
            secret,
            open_files: limit_of_agents(),
            settings: spec.process.resolved(&self.base_dirs.current),
            cgroups,
            launcher: launcher::program(),
        }
    }

    /// The program that checks an agent, and its time limit. `overrides` are variables that it does not inherit.
    pub(super) fn check_command(&self, agent: &Agent, overrides: &[String]) -> Option<(CheckCommand, Duration)> {
        let spec = &agent.spec;
        let Command { program, args } = spec.health_check.exec.as_ref()?;
        let mut settings = spec.process.resolved(&self.base_dirs.current);
        let ProcessAttributes { user, group, umask, .. } = std::mem::take(&mut settings.attributes);
        settings.attributes = ProcessAttributes { user, group, umask, ..ProcessAttributes::default() };
        let command = CheckCommand {
            binary: program.clone(),
            args: args.iter().map(Into::into).collect(),
            work_dir: self.work_dir(agent),
            environment: of_check(std::env::vars_os(), overrides, &spec.id, &self.base_dirs.work_dir),
            open_files: limit_of_agents(),
            settings,
            launcher: launcher::program(),
        };
        Some((command, spec.health_check.http_timeout))
    }

    pub(super) fn work_dir(&self, agent: &Agent) -> PathBuf {
        self.base_dirs.current.join(&agent.spec.work_dir)
    }

    fn desired_agent(&self, id: &AgentId, agent: &Agent) -> DesiredAgent {
        let spec = &agent.spec;
        let (binary, args) = (&spec.binary_path, spec.arguments(&self.base_dirs.current));
        let health = &spec.health_check;
        let limits = CheckLimits {
            interval: health.interval,
            start_grace: health.start_grace,
            heartbeat_timeout: health.heartbeat_timeout,
            expects_heartbeats: spec.kind == AgentKind::Custom,
            proof_required: health.heartbeat_proof == HeartbeatProof::Required,
            http: health.http_endpoint.is_some(),
            tcp: health.tcp.is_some(),
            exec: health.exec.is_some(),
            http_timeout: health.http_timeout,
            http_failures: health.http_failures,
            state_max_age: health.state_file.as_ref().map(|_| health.state_max_age),
            cpu_percent: health.cpu_threshold,
            memory_bytes: health.memory_threshold,
            open_files: health.open_files_threshold,
            threshold_duration: health.threshold_duration,
            readiness: spec.readiness,
            targets: fnv(targets(spec).as_bytes()),
        };
        // Only what the process is started with. All else applies to the running process.
        // Without `ready`, the text is that of earlier versions, so an upgrade restarts nothing.
        let ready = spec.readiness.map_or_else(String::new, |readiness| format!(" {:?}", readiness.by));
        let text = format!("{binary:?} {args:?} {:?}{}{ready}", self.work_dir(agent), spec.process.comparable());
        DesiredAgent {
            id: AgentId::clone(id),
            enabled: spec.enabled,
            depends_on: spec.depends_on.iter().map(|id| AgentId::from(id.as_str())).collect(),
            policy: spec.restart,
            limits,
            fingerprint: fnv(text.as_bytes()),
        }
    }
}

impl Agent {
    fn new(spec: AgentSpec, tls: &Material, base: &Path) -> Result<Self, CheckSetupError> {
        let health = &spec.health_check;
        let secure = spec.secure().and_then(|files| tls.client(files)).cloned();
        let http = health.http_endpoint.as_ref();
        let http = http.map(|endpoint| HttpCheck::new(endpoint.as_str(), health.http_timeout, secure));
        let http = http.transpose().map_err(|problem| CheckSetupError { id: spec.id.clone(), problem })?.map(Box::new);
        let tcp = health.tcp.as_ref().map(|address| Box::new(TcpCheck::new(address, health.http_timeout)));
        let status_file = health.state_file.as_deref().map(|path| StatusFileCheck::new(base.join(path)));
        Ok(Self { spec, http, tcp, status_file })
    }

    /// The user that it is configured to run as. `None`: that of the daemon.
    pub(super) fn user(&self) -> Option<&str> {
        self.spec.process.attributes.user.as_deref()
    }

    pub(super) const fn log_rotation(&self) -> LogRotation {
        self.spec.log
    }

    pub(super) const fn interval(&self) -> Duration {
        self.spec.health_check.interval
    }

    pub(super) const fn memory_threshold(&self) -> Option<u64> {
        self.spec.health_check.memory_threshold
    }

    pub(super) const fn counts_open_files(&self) -> bool {
        self.spec.health_check.open_files_threshold.is_some()
    }

    /// What the configuration says about it. `host` replaces that of the address of its metrics.
    pub(super) fn describe(&self, host: Option<&str>) -> Description {
        let AgentSpec { name, kind, labels, metrics_endpoint, .. } = &self.spec;
        let mut url = metrics_endpoint.clone();
        if let (Some(url), Some(host)) = (&mut url, host) {
            // A validated host always fits.
            let _ = url.set_host(Some(host));
        }
        let metrics_url = url.map(String::from);
        Description { name: name.clone(), kind: kind.as_str(), labels: labels.clone(), metrics_url }
    }
}

/// What the checks of an agent look at. Another text means that what was seen before says nothing.
fn targets(spec: &AgentSpec) -> String {
    let health = &spec.health_check;
    let (http, tls) = (&health.http_endpoint, spec.secure());
    format!("{http:?} {tls:?} {:?} {:?} {:?}", health.tcp, health.exec, health.state_file)
}

/// FNV-1a. The next daemon compares the value, so it must be the same in every build. The hashers of std may change.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
