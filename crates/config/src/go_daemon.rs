//! Keys of the Go daemon that mean something else here, or nothing. Its files run unchanged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::common_schema::ShortForms;
use super::daemon::{AgentKind, AgentSpec, LogRotation, ProcessSettings};
use super::daemon_schema::{BINARY_PATH, CONFIG_FILE, Context, health, work_dir_of};
use super::discovery_schema::default_metrics_endpoint;
use super::health_schema::{CPU_THRESHOLD, health_section};
use super::host_checks::PathUse;
use super::key::Reload::{NewProcess, Restart};
use super::key::{Key, key};
use super::paths::{FilePath, ProgramPath};
use super::reader::Sourced;
use super::restart_schema::restart;
use super::scope::Scope;
use super::values::OrEmpty;

/// The names of the common keys in the files of the Go daemon.
pub(super) const GO_FORMS: ShortForms =
    ShortForms { log_level: "daemon.log_level", log_file: "daemon.log_file", http_port: "daemon.http_port" };

const SOCKET_PATH: Key<OrEmpty<FilePath>> =
    key("socket_path", OrEmpty(FilePath), Restart, "The socket for heartbeats, if `daemon.socket_path` is not set.");

/// An empty path means that there is no agent.
const BINARY_PATH_OR_NONE: Key<OrEmpty<ProgramPath>> =
    key(BINARY_PATH.name, OrEmpty(ProgramPath), NewProcess, BINARY_PATH.doc);

const ONLY_AGENT: &str = "The only agent, in files without `agents`. Its ID is the `agent_id` in its `config_file`, or \
    else `agent`. Its `socket_path` is the daemon's.";

/// Sections without an effect, and what to do instead.
const SECTIONS: [(&str, &str); 3] = [
    ("manager", "Remove it, and read `GET /agents` and `GET /metrics` of `daemon.http`."),
    ("collectors", "Remove it, and supervise an agent of the type `node_exporter`."),
    ("update", "Remove it, and update programs with packages."),
];

/// Keys of the section `daemon` without an effect, and what to do instead.
const DAEMON_KEYS: [(&str, &str); 6] = [
    ("id", "Remove it, and tell daemons apart by their hosts."),
    ("pid_file", "Remove it, and use the command `status` or the service manager."),
    ("grpc_port", "Remove it, and use `daemon.http.port` or `daemon.socket_path`."),
    ("pprof_port", "Remove it, and profile with `perf`."),
    ("pprof_address", "Remove it, and profile with `perf`."),
    ("max_procs", "Remove it, and limit the CPU with `CPUQuota=` in the unit of the service."),
];

/// Accepts the keys without an effect, with a warning each.
pub(super) fn retired(file: &Scope<'_>, daemon: &Scope<'_>) {
    DAEMON_KEYS.iter().for_each(|(name, instead)| daemon.retired(name, instead));
    SECTIONS.iter().for_each(|(name, instead)| file.retired(name, instead));
}

/// The section `agent`.
#[derive(Default)]
pub(super) struct OnlyAgent<'r> {
    pub(super) scope: Option<Scope<'r>>,
    /// The inner `None`: at least one problem was reported.
    pub(super) spec: Option<Option<AgentSpec>>,
    pub(super) socket: Option<Sourced<PathBuf>>,
}

/// Reads the section `agent`. It is an agent only without `agents`, and if it names a program.
pub(super) fn only_agent<'r>(file: &Scope<'r>, context: &Context<'_, '_>, has_agents: bool) -> OnlyAgent<'r> {
    let Some((item, location)) = file.legacy_section("agent", ONLY_AGENT) else { return OnlyAgent::default() };
    let before = item.reader.problems.len();
    let binary_path = item.legacy(&BINARY_PATH_OR_NONE).and_then(Sourced::transpose);
    if let Some(given) = &binary_path {
        item.uses_path(PathUse::Program(given.value.clone()), BINARY_PATH.name, given);
    }
    let config_file = item.legacy(&CONFIG_FILE).and_then(|given| given.value);
    let socket = item.legacy(&SOCKET_PATH).and_then(Sourced::transpose);
    let config = config_file.as_deref().map(|path| context.files.of_the_only_agent(path));
    let found = config.and_then(|config| config.agent_id);
    let (id, why) = match (&found, &config_file) {
        (Some(id), Some(path)) => (id.clone(), format!("the `agent_id` in {}", path.display())),
        (_, Some(path)) => ("agent".to_owned(), format!("because {} gives no `agent_id`", path.display())),
        (_, None) => ("agent".to_owned(), "because it has no `config_file`".to_owned()),
    };
    let work_dir = work_dir_of(&item, context, &id, None);
    let (health_check, http_tls) = health(&item, context, AgentKind::Custom, config_file.as_deref());
    let restart = restart(&item, context);
    let warn = |fact: String, remedy: String| file.reader.warn("agent", fact, remedy, location.clone());
    let spec = match binary_path {
        _ if item.reader.problems.len() > before => Some(None),
        None => {
            let remedy =
                if socket.is_some() { "move its `socket_path` into `daemon`, and remove it" } else { "remove it" };
            warn("`agent` is no agent, because `agent.binary_path` is not set".to_owned(), remedy.to_owned());
            None
        }
        Some(_) if has_agents => {
            warn("`agent` is no agent, because `agents` is set too".to_owned(), "move it into `agents`".to_owned());
            None
        }
        Some(binary_path) => {
            warn(format!("`agent` has the ID `{id}`, {why}"), format!("write it into `agents`, with `id: {id}`"));
            Some(Some(AgentSpec {
                kind: AgentKind::Custom,
                name: id.clone(),
                labels: BTreeMap::new(),
                metrics_endpoint: default_metrics_endpoint(AgentKind::Custom, &health_check),
                id,
                binary_path: binary_path.value,
                config_file,
                args: None,
                work_dir,
                enabled: true,
                depends_on: Vec::new(),
                process: ProcessSettings::default(),
                socket_path: None,
                log: LogRotation::default(),
                readiness: None,
                health_check,
                http_tls,
                restart,
                settings: item.take_settings(),
            }))
        }
    };
    OnlyAgent { scope: Some(item), spec, socket }
}

/// The socket in the section `agent`.
pub(super) fn socket_of_the_only_agent(file: &Scope<'_>) -> Option<Sourced<PathBuf>> {
    file.legacy_section("agent", ONLY_AGENT)
        .and_then(|(item, _)| item.legacy(&SOCKET_PATH))
        .and_then(Sourced::transpose)
}

/// The daemon's socket, if the file gives it only in the section `agent`. Warns if it gives another one there.
pub(super) fn socket(
    daemon: &Scope<'_>,
    configured: &Path,
    only: Option<Sourced<PathBuf>>,
) -> Option<Sourced<PathBuf>> {
    let given = only?;
    if !daemon.has("socket_path") {
        return Some(given);
    }
    if given.value != configured {
        let fact = format!("{} has no effect, because the daemon's socket is {}", given.subject, configured.display());
        let remedy = format!("set `heartbeat.socket_path` of the agent to {}", configured.display());
        daemon.reader.warn("socket_path", fact, remedy, given.location);
    }
    None
}

/// Warns once about the unit of `cpu_threshold` in a file of the Go daemon.
pub(super) fn cpu_threshold(file: &Scope<'_>, defaults: &Scope<'_>, items: &[Scope<'_>], only: Option<&Scope<'_>>) {
    let daemon_keys = DAEMON_KEYS.iter().map(|(name, _)| format!("daemon.{name}"));
    let forms = [GO_FORMS.log_level, GO_FORMS.log_file, GO_FORMS.http_port].map(str::to_owned);
    let sections = SECTIONS.iter().map(|(name, _)| (*name).to_owned());
    let is_of_the_go_daemon = only.is_some()
        || daemon_keys.chain(forms).chain(sections).any(|name| file.has(&name))
        || items.iter().any(|item| item.has("socket_path"));
    if !is_of_the_go_daemon {
        return;
    }
    for scope in items.iter().chain(only).chain([defaults]) {
        let health = health_section(scope);
        if let Some(given) = health.given(&CPU_THRESHOLD).filter(|given| given.value > 0.0) {
            let fact = format!("is {} % of the whole machine, and of one core for the Go daemon", given.value);
            let remedy = "divide each `cpu_threshold` by the number of cores".to_owned();
            return health.warn(&given, CPU_THRESHOLD.name, &fact, remedy);
        }
    }
}
