//! The daemon's keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ops_http::server::ServerLimits;
use ops_http::tls::{ClientFiles, Role};
use statemachine::supervision::{Policy, RestartWhen};

use super::common_schema::Common;
use super::daemon::{AgentKind, AgentSpec, DaemonConfig, HealthCheck};
use super::health_schema::{HealthKeys, health_section};
use super::key::Reload::{NewProcess, Restart};
use super::key::key;
use super::numbers::{Time, Whole};
use super::paths::{Directory, FilePath, ProgramPath};
use super::problem::Location;
use super::raw::ValueError;
use super::reader::Sourced;
use super::scope::Scope;
use super::values::{AgentIdentifier, Boolean, Choice, DAY, HOUR, OrEmpty, SHORTEST, Text, TextList};

const KINDS: Choice<AgentKind> = Choice(&[
    ("custom", AgentKind::Custom),
    ("filebeat", AgentKind::Filebeat),
    ("telegraf", AgentKind::Telegraf),
    ("node_exporter", AgentKind::NodeExporter),
]);

const POLICIES: Choice<RestartWhen> =
    Choice(&[("always", RestartWhen::Always), ("on-failure", RestartWhen::OnFailure), ("never", RestartWhen::Never)]);

/// Reads all keys. `None`: at least one problem was reported.
pub(super) fn read(file: &Scope<'_>) -> Option<DaemonConfig> {
    let daemon = file.section("daemon", "The daemon itself.");
    let common = Common {
        log_reload: Restart,
        port: 8080,
        limits: ServerLimits::of_daemon(),
        protected: "the control of the agents",
        short_forms: false,
    };
    let work_dir = key(
        "work_dir",
        Directory,
        Restart,
        "The directory of the registry. An agent without a `work_dir` gets a directory in it.",
    );
    let work_dir = daemon.value(&work_dir, PathBuf::from("state"));
    let socket_path = key("socket_path", FilePath, Restart, "The Unix socket for heartbeats and control.");
    let shown = ("`daemon.sock` in `work_dir`", "state/daemon.sock");
    let socket_path = daemon.computed(&socket_path, shown, || work_dir.join("daemon.sock"));
    let http = common.http(&daemon);
    let log = common.log(&daemon);
    let items = file.items("agents", "The supervised programs, at most 16384.");
    let defaults = file.section("agent_defaults", "The defaults for all agents. An agent can override each of them.");
    let mut seen = HashMap::new();
    // Checks the defaults once, even if there is no agent.
    HealthKeys::read(&health_section(&defaults), AgentKind::Custom);
    RestartKeys::read(&restart_section(&defaults));
    let agents: Vec<Option<AgentSpec>> =
        items.iter().map(|item| agent(item, &defaults, &work_dir, &mut seen)).collect();
    let agents = agents.into_iter().collect::<Option<Vec<AgentSpec>>>()?;
    Some(DaemonConfig { work_dir, socket_path, http, log, agents, settings: file.take_settings() })
}

fn agent(
    item: &Scope<'_>,
    defaults: &Scope<'_>,
    daemon_dir: &Path,
    seen: &mut HashMap<String, Location>,
) -> Option<AgentSpec> {
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
    let name = key("name", OrEmpty(Text), NewProcess, "The display name.");
    let name = item
        .computed(&name, ("its `id`", "Agent 001"), || Some(default_name.clone()))
        .unwrap_or_else(|| default_name.clone());
    let binary_path =
        item.required(&key("binary_path", ProgramPath, NewProcess, "The program to run."), "/usr/local/bin/agent");
    let config_file = key("config_file", OrEmpty(FilePath), NewProcess, "The configuration file of the program.");
    let config_file = item.optional(&config_file, "/etc/ops-agent/agent-001.yaml").and_then(|given| given.value);
    let args =
        key("args", TextList, NewProcess, "Arguments that replace the default ones. An empty list counts as absent.");
    let args = Some(item.value(&args, Vec::new())).filter(|args| !args.is_empty());
    let work_dir = key(
        "work_dir",
        OrEmpty(Directory),
        NewProcess,
        "The working directory of the program. Its output goes to `logs/agent.log` in it.",
    );
    let default_dir = || daemon_dir.join("agents").join(&default_name);
    let shown = ("`agents/ID` in the daemon's `work_dir`", "state/agents/agent-001");
    let work_dir = item.computed(&work_dir, shown, || Some(default_dir())).unwrap_or_else(default_dir);
    // An empty value counts as absent.
    item.effective("name", Some(name.clone()));
    item.effective("work_dir", Some(work_dir.display().to_string()));
    let enabled = item.value(&key("enabled", Boolean, NewProcess, "Whether the agent is started."), true);
    let (health_check, http_tls) = health(item, defaults, kind);
    let restart = restart_section(item);
    let restart = RestartKeys::read(&restart.over(&restart_section(defaults))).policy(&restart);
    Some(AgentSpec {
        id: id?.value,
        kind,
        name,
        binary_path: binary_path?.value,
        config_file,
        args,
        work_dir,
        enabled,
        health_check,
        http_tls,
        restart,
        settings: item.take_settings(),
    })
}

fn health(item: &Scope<'_>, defaults: &Scope<'_>, kind: AgentKind) -> (HealthCheck, ClientFiles) {
    let own = health_section(item);
    let keys = HealthKeys::read(&own.over(&health_section(defaults)), kind);
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

fn restart_section<'r>(parent: &Scope<'r>) -> Scope<'r> {
    parent.section("restart", "Whether and when an agent is restarted.")
}

/// The restart policy, with the sources of its waits.
struct RestartKeys {
    when: RestartWhen,
    max_retries: u32,
    backoff_base: Sourced<Duration>,
    backoff_max: Sourced<Duration>,
}

impl RestartKeys {
    fn read(scope: &Scope<'_>) -> Self {
        let default = Policy::default();
        let retries = "How many restarts in a row before the agent is Failed and waits for the command `start`.";
        let base = "The unit of the waits before restarts: 0, then 1, 1, 3 and 3 times this, then `backoff_max`.";
        let max = "The longest wait before a restart.";
        Self {
            when: scope
                .value(&key("policy", POLICIES, NewProcess, "When an agent that ended is restarted."), default.when),
            max_retries: scope
                .value(&key("max_retries", Whole(0, 1_000_000), NewProcess, retries), default.max_retries),
            backoff_base: scope
                .sourced(&key("backoff_base", Time(SHORTEST, HOUR), NewProcess, base), default.backoff_base),
            backoff_max: scope.sourced(&key("backoff_max", Time(SHORTEST, DAY), NewProcess, max), default.backoff_max),
        }
    }

    fn policy(self, scope: &Scope<'_>) -> Policy {
        let (base, max) = (&self.backoff_base, &self.backoff_max);
        if base.value > max.value {
            let given = if base.is_given() { base } else { max };
            let fact = "makes `backoff_base` greater than `backoff_max`".to_owned();
            let remedy = "set `backoff_base` to at most `backoff_max`, whose default is 1m".to_owned();
            scope.report(given, "backoff_base", ValueError { fact, remedy });
        }
        Policy { when: self.when, max_retries: self.max_retries, backoff_base: base.value, backoff_max: max.value }
    }
}
