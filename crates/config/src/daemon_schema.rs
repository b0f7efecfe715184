//! The daemon's keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ops_http::server::ServerLimits;
use ops_http::tls::{ClientFiles, Role};

use super::agent_file::AgentFiles;
use super::common_schema::{Common, Unprotected};
use super::daemon::{AgentKind, AgentSpec, DaemonConfig, HealthCheck, notify_socket};
use super::dependencies;
use super::discovery_schema::{labels, metrics_endpoint, sd_address};
use super::go_daemon::{self, GO_FORMS};
use super::health_schema::{HealthKeys, health_section};
use super::hook_schema::hooks;
use super::host_checks::PathUse;
use super::host_names::HostNames;
use super::include::include;
use super::key::Reload::{Live, NewProcess, Restart};
use super::key::{Key, key};
use super::log_schema::log_rotation;
use super::numbers::Whole;
use super::paths::{Directory, FilePath, ProgramPath};
use super::problem::Location;
use super::process_schema::process;
use super::reader::Sourced;
use super::readiness::readiness;
use super::restart_schema::{check_restart_defaults, restart};
use super::scope::Scope;
use super::values::{AgentIdentifier, Boolean, Choice, OrEmpty, Text, TextList};

const KINDS: Choice<AgentKind> = Choice(&[
    (AgentKind::Custom.as_str(), AgentKind::Custom),
    (AgentKind::Filebeat.as_str(), AgentKind::Filebeat),
    (AgentKind::Telegraf.as_str(), AgentKind::Telegraf),
    (AgentKind::NodeExporter.as_str(), AgentKind::NodeExporter),
]);

pub(super) const BINARY_PATH: Key<ProgramPath> = key("binary_path", ProgramPath, NewProcess, "The program to run.");

pub(super) const CONFIG_FILE: Key<OrEmpty<FilePath>> =
    key("config_file", OrEmpty(FilePath), NewProcess, "The configuration file of the program.");

const WORK_DIR: Key<Directory> = key(
    "work_dir",
    Directory,
    Restart,
    "The directory of the registry. An agent without a `work_dir` gets a directory in it.",
);

const SOCKET_PATH: Key<FilePath> = key("socket_path", FilePath, Restart, "The Unix socket for heartbeats and control.");

const START_LIMIT: Key<Whole<usize>> =
    key("start_limit", Whole(1, 1000), Live, "How many programs are started at the same time. The others wait.");

const AGENT_SOCKET_PATH: Key<OrEmpty<FilePath>> = key(
    SOCKET_PATH.name,
    OrEmpty(FilePath),
    Live,
    "One more Unix socket, for the heartbeats of this agent alone. Only its `user` and root may use it. Empty: none.",
);

/// Reads all keys. `None`: at least one problem was reported.
pub(super) fn read(file: &Scope<'_>, files: AgentFiles) -> Option<DaemonConfig> {
    let includes = include(file);
    let daemon = file.section("daemon", "The daemon itself.");
    let common = Common {
        log_reload: Restart,
        port: 8080,
        limits: ServerLimits::of_daemon(),
        unprotected: Unprotected::Error,
        short: GO_FORMS,
    };
    let (work_dir, mut socket_path) = work_dir_and_socket(&daemon);
    let start_limit = daemon.value(&START_LIMIT, 50);
    let http = common.http(&daemon);
    let http_names = key(
        "names",
        HostNames,
        Restart,
        "The host names under which browsers may open the daemon's page, besides addresses, `localhost` and the host's own name.",
    );
    let http_names = daemon.section("http", "The HTTP API.").value(&http_names, Vec::new());
    let sd_address = sd_address(&daemon);
    let log = common.log(&daemon);
    go_daemon::retired(file, &daemon);
    let items = file.items("agents", "The supervised programs, at most 16384.");
    if !file.has("agent") && !includes {
        // A file that was cut must not stop all agents.
        file.require_set("agents", "check that the file is complete; write `agents: []` to supervise none");
    }
    let defaults = file.section("agent_defaults", "The defaults for all agents. An agent can override each of them.");
    let mut seen = HashMap::new();
    // Checks the defaults once, even if there is no agent.
    HealthKeys::read(&health_section(&defaults), AgentKind::Custom);
    check_restart_defaults(&defaults);
    let context = Context { defaults: &defaults, work_dir: &work_dir, files };
    let mut agents: Vec<Option<AgentSpec>> = items.iter().map(|item| agent(item, &context, &mut seen)).collect();
    let only = go_daemon::only_agent(file, &context, !items.is_empty());
    agents.extend(only.spec);
    if let Some(socket) = go_daemon::socket(&daemon, &socket_path, only.socket) {
        daemon.effective("socket_path", Some(socket.value.display().to_string()));
        daemon.uses_path(PathUse::Socket(socket.value.clone()), "socket_path", &socket);
        socket_path = socket.value;
    } else {
        let given = daemon.given(&SOCKET_PATH);
        let given = given.unwrap_or_else(|| Sourced::default_of(SOCKET_PATH.name, socket_path.clone()));
        daemon.uses_path(PathUse::Socket(socket_path.clone()), SOCKET_PATH.name, &given);
    }
    go_daemon::cpu_threshold(file, &defaults, &items, only.scope.as_ref());
    unique_sockets(&items, &socket_path);
    dependencies::check(&items, &agents);
    let hooks = hooks(file, &agents);
    let mut agents = agents.into_iter().collect::<Option<Vec<AgentSpec>>>()?;
    for agent in &mut agents {
        // The daemon's own socket takes the heartbeats of all agents.
        agent.socket_path = agent.socket_path.take().filter(|socket| *socket != socket_path);
    }
    Some(DaemonConfig {
        work_dir,
        socket_path,
        start_limit,
        http,
        http_names,
        sd_address,
        log,
        agents,
        hooks: hooks?,
        settings: file.take_settings(),
    })
}

fn work_dir_and_socket(daemon: &Scope<'_>) -> (PathBuf, PathBuf) {
    let work_dir = daemon.sourced(&WORK_DIR, PathBuf::from("state"));
    daemon.uses_path(PathUse::WorkDir(work_dir.value.clone()), WORK_DIR.name, &work_dir);
    let shown = ("`daemon.sock` in `work_dir`", "state/daemon.sock");
    let socket_path = daemon.computed(&SOCKET_PATH, shown, || work_dir.value.join("daemon.sock"));
    (work_dir.value, socket_path)
}

/// Reads only the keys of the socket. `None`: at least one problem was reported.
pub(super) fn read_socket(file: &Scope<'_>) -> Option<PathBuf> {
    let daemon = file.section("daemon", "The daemon itself.");
    let (_, socket_path) = work_dir_and_socket(&daemon);
    let only = go_daemon::socket_of_the_only_agent(file);
    let is_right = file.reader.problems.len() == 0;
    let socket = go_daemon::socket(&daemon, &socket_path, only).map(|given| given.value);
    is_right.then(|| socket.unwrap_or(socket_path))
}

/// The socket of one agent alone.
fn agent_socket(item: &Scope<'_>) -> Option<PathBuf> {
    let given = item.sourced(&AGENT_SOCKET_PATH, None);
    if let Some(path) = &given.value {
        item.uses_path(PathUse::Socket(path.clone()), AGENT_SOCKET_PATH.name, &given);
    }
    given.value
}

/// Reports agents that have the same socket, unless it is the daemon's.
fn unique_sockets(items: &[Scope<'_>], of_the_daemon: &Path) {
    let mut seen: HashMap<PathBuf, Location> = HashMap::new();
    for item in items {
        let Some(given) = item.given(&AGENT_SOCKET_PATH).and_then(Sourced::transpose) else { continue };
        match seen.get(&given.value) {
            _ if given.value == of_the_daemon => {}
            Some(first) => item.repeated(&given.map(|path| path.display().to_string()), AGENT_SOCKET_PATH.name, first),
            None => drop(seen.insert(given.value.clone(), given.location.clone())),
        }
    }
}

/// What the agents of a file have in common.
pub(super) struct Context<'r, 'a> {
    pub(super) defaults: &'a Scope<'r>,
    /// The daemon's work directory.
    pub(super) work_dir: &'a Path,
    pub(super) files: AgentFiles,
}

fn agent(item: &Scope<'_>, context: &Context<'_, '_>, seen: &mut HashMap<String, Location>) -> Option<AgentSpec> {
    let id =
        item.required(&key("id", AgentIdentifier, NewProcess, "The ID of the agent. It must be unique."), "agent-001");
    if let Some(id) = &id {
        unique(item, id, seen);
    }
    let kind = key(
        "type",
        KINDS,
        NewProcess,
        "The kind of program. It selects the default arguments. Only `custom` is expected to send heartbeats.",
    );
    let kind = item.value(&kind, AgentKind::Custom);
    let default_name = id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
    let name = key("name", OrEmpty(Text), Live, "The display name.");
    let name = item
        .computed(&name, ("its `id`", "Agent 001"), || Some(default_name.clone()))
        .unwrap_or_else(|| default_name.clone());
    let labels = labels(item);
    let binary_path = item.required(&BINARY_PATH, "/usr/local/bin/ops-agent");
    if let Some(given) = &binary_path {
        item.uses_path(PathUse::Program(given.value.clone()), BINARY_PATH.name, given);
    }
    let config_file = item.optional(&CONFIG_FILE, "/etc/ops-agent/agent-001.yaml").and_then(|given| given.value);
    let args =
        key("args", TextList, NewProcess, "Arguments that replace the default ones. An empty list counts as absent.");
    let args = Some(item.value(&args, Vec::new())).filter(|args| !args.is_empty());
    let work_dir = work_dir_of(item, context, &default_name, id.as_ref());
    // An empty value counts as absent.
    item.effective("name", Some(name.clone()));
    let enabled = item.value(&key("enabled", Boolean, Live, "Whether the agent is started."), true);
    let depends_on = dependencies::depends_on(item);
    let process = process(item, context);
    let socket_path = agent_socket(item);
    let log = log_rotation(item);
    let (health_check, http_tls) = health(item, context, kind, config_file.as_deref());
    let metrics_endpoint = metrics_endpoint(item, kind, &health_check);
    let readiness =
        readiness(item, health_check.http_endpoint.is_some(), notify_socket(context.work_dir, &default_name));
    let restart = restart(item, context);
    Some(AgentSpec {
        id: id?.value,
        kind,
        name,
        labels,
        metrics_endpoint,
        binary_path: binary_path?.value,
        config_file,
        args,
        work_dir,
        enabled,
        depends_on,
        process,
        socket_path,
        log,
        readiness,
        health_check,
        http_tls,
        restart,
        settings: item.take_settings(),
    })
}

/// The working directory of an agent. An empty value counts as absent.
pub(super) fn work_dir_of(
    item: &Scope<'_>,
    context: &Context<'_, '_>,
    id: &str,
    id_given: Option<&Sourced<String>>,
) -> PathBuf {
    let key = key(
        "work_dir",
        OrEmpty(Directory),
        NewProcess,
        "The working directory of the program. Its output goes to `logs/agent.log` in it.",
    );
    let default_dir = || context.work_dir.join("agents").join(id);
    let shown = ("`agents/ID` in the daemon's `work_dir`", "state/agents/agent-001");
    let work_dir = item.computed(&key, shown, || Some(default_dir())).unwrap_or_else(default_dir);
    item.effective("work_dir", Some(work_dir.display().to_string()));
    let path = PathUse::AgentWorkDir(work_dir.clone());
    match (item.given(&key).and_then(Sourced::transpose), id_given) {
        (Some(given), _) => item.uses_path(path, key.name, &given),
        // The default is made of the ID, so it has the place of the ID.
        (None, Some(id)) => item.uses_path(path, key.name, id),
        (None, None) => {}
    }
    work_dir
}

pub(super) fn health(
    item: &Scope<'_>,
    context: &Context<'_, '_>,
    kind: AgentKind,
    config_file: Option<&Path>,
) -> (HealthCheck, ClientFiles) {
    let own = health_section(item);
    let over = own.over(&health_section(context.defaults));
    let keys = HealthKeys::read(&over, kind);
    keys.warn_of_timeout(&over, kind, config_file.and_then(|path| context.files.of_each(path)));
    let endpoint = keys.http_endpoint.as_ref();
    match endpoint.and_then(|given| Some((given, given.value.as_ref()?))) {
        Some((given, url)) if url.scheme() == "https" => {
            own.needs_file(Role::SystemRoots, Path::new(""), "http_endpoint", given);
        }
        // Without this error, the user would assume that the agent is authenticated.
        Some(_) => keys.refuse_tls(&own),
        None => {}
    }
    keys.into_parts()
}

fn unique(item: &Scope<'_>, id: &Sourced<String>, seen: &mut HashMap<String, Location>) {
    match seen.get(&id.value) {
        None => {
            seen.insert(id.value.clone(), id.location.clone());
        }
        Some(first) => item.repeated(id, "id", first),
    }
}
