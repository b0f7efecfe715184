//! The daemon's keys: their names, their ranges, their defaults.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_client::http_types::Url;
use statemachine::supervision::{Policy, RestartWhen};

use super::common_schema::{DAY, HOUR, Names, SHORTEST, http, identity as identity_of, log, tls_file, value};
use super::daemon::{AgentKind, AgentSpec, DaemonConfig, HealthCheck};
use super::places::{directory, http_address, path, program};
use super::problem::Place;
use super::reader::{Given, Scope};
use super::values::{
    Fault, choice, decimal, duration, duration_or_none, identity, integer, text, texts, truth, unless_empty,
};
use ops_http::server::ServerLimits;
use ops_http::tls::{ClientFiles, IdentityFiles, Role};

const KINDS: [(&str, AgentKind); 4] = [
    ("custom", AgentKind::Custom),
    ("filebeat", AgentKind::Filebeat),
    ("telegraf", AgentKind::Telegraf),
    ("node_exporter", AgentKind::NodeExporter),
];

const POLICIES: [(&str, RestartWhen); 3] =
    [("always", RestartWhen::Always), ("on-failure", RestartWhen::OnFailure), ("never", RestartWhen::Never)];

/// Asks for every key. `None` only with a problem.
pub(super) fn read(scope: &Scope<'_>) -> Option<DaemonConfig> {
    let work_dir = value(scope.get("daemon.work_dir", directory), PathBuf::from("state"));
    let socket_path = scope.get("daemon.socket_path", path).map(|given| given.value);
    let http = http(
        scope,
        &Names { section: "daemon.http", short: &[] },
        8080,
        ServerLimits::of_daemon(),
        "the control of the agents",
    );
    let log = log(scope, &Names { section: "daemon.log", short: &[] });
    let defaults = AgentDefaults::read(scope);
    let items = scope.items("agents");
    let mut seen = HashMap::new();
    let agents: Vec<Option<AgentSpec>> =
        items.iter().map(|item| agent(item, &defaults, &work_dir, &mut seen)).collect();
    let agents = agents.into_iter().collect::<Option<Vec<AgentSpec>>>()?;
    let socket_path = socket_path.unwrap_or_else(|| work_dir.join("daemon.sock"));
    Some(DaemonConfig { work_dir, socket_path, http, log, agents })
}

fn agent(
    scope: &Scope<'_>,
    defaults: &AgentDefaults,
    daemon_dir: &std::path::Path,
    seen: &mut HashMap<String, Place>,
) -> Option<AgentSpec> {
    let id = scope.required("id", "agent-001", identity);
    if let Some(id) = &id {
        unique(scope, id, seen);
    }
    let kind = value(scope.get("type", choice(&KINDS)), AgentKind::Custom);
    let name = value(scope.get("name", unless_empty(text)), None);
    let binary_path = scope.required("binary_path", "/usr/local/bin/agent", program);
    let config_file = value(scope.get("config_file", unless_empty(path)), None);
    let args = scope.get("args", texts).map(|given| given.value).filter(|args| !args.is_empty());
    let work_dir = value(scope.get("work_dir", unless_empty(directory)), None);
    let enabled = value(scope.get("enabled", truth), true);
    let given = GivenHealthCheck::read(scope, "health_check");
    let http_tls = given.tls_over(scope, &defaults.health_check);
    let health_check = given.over(&defaults.health_check, kind);
    let restart = GivenRestart::read(scope, "restart").over(scope, &defaults.restart);
    let id = id?.value;
    Some(AgentSpec {
        kind,
        name: name.unwrap_or_else(|| id.clone()),
        binary_path: binary_path?.value,
        config_file,
        args,
        work_dir: work_dir.unwrap_or_else(|| daemon_dir.join("agents").join(&id)),
        enabled,
        health_check,
        http_tls,
        restart,
        id,
    })
}

fn unique(scope: &Scope<'_>, id: &Given<String>, seen: &mut HashMap<String, Place>) {
    match seen.get(&id.value) {
        None => {
            seen.insert(id.value.clone(), id.place.clone());
        }
        Some(first) => scope.repeated(id, "id", first),
    }
}

/// What holds for each agent that does not say otherwise.
struct AgentDefaults {
    health_check: GivenHealthCheck,
    restart: GivenRestart,
}

impl AgentDefaults {
    fn read(scope: &Scope<'_>) -> Self {
        let health_check = GivenHealthCheck::read(scope, "agent_defaults.health_check");
        Self { health_check, restart: GivenRestart::read(scope, "agent_defaults.restart") }
    }
}

/// A health check as far as it is given. Where zero or nothing switches a check off, that is given too.
struct GivenHealthCheck {
    interval: Option<Duration>,
    heartbeat_timeout: Option<Option<Duration>>,
    http_endpoint: Option<Given<Option<Url>>>,
    http_tls: GivenTls,
    state_file: Option<Option<PathBuf>>,
    state_max_age: Option<Duration>,
    cpu_threshold: Option<f64>,
    memory_threshold: Option<u64>,
    threshold_duration: Option<Duration>,
    start_grace: Option<Duration>,
}

impl GivenHealthCheck {
    fn read(scope: &Scope<'_>, section: &str) -> Self {
        let key = |key: &str| format!("{section}.{key}");
        let time = |name: &str, shortest| scope.get(&key(name), duration(shortest..=DAY)).map(|given| given.value);
        let heartbeat_timeout = scope.get(&key("heartbeat_timeout"), duration_or_none(SHORTEST..=DAY));
        Self {
            interval: scope.get(&key("interval"), duration(SHORTEST..=HOUR)).map(|given| given.value),
            heartbeat_timeout: heartbeat_timeout.map(|given| given.value),
            http_endpoint: scope.get(&key("http_endpoint"), unless_empty(http_address)),
            http_tls: GivenTls::read(scope, &key("http_tls")),
            state_file: scope.get(&key("state_file"), unless_empty(path)).map(|given| given.value),
            state_max_age: time("state_max_age", SHORTEST),
            cpu_threshold: scope.get(&key("cpu_threshold"), decimal(0.0..=100.0)).map(|given| given.value),
            memory_threshold: scope.get(&key("memory_threshold"), integer(0..=1 << 50)).map(|given| given.value),
            threshold_duration: time("threshold_duration", Duration::ZERO),
            start_grace: time("start_grace", Duration::ZERO),
        }
    }

    fn endpoint_over<'g>(&'g self, defaults: &'g Self) -> Option<&'g Given<Option<Url>>> {
        self.http_endpoint.as_ref().or(defaults.http_endpoint.as_ref())
    }

    /// Whom the HTTP check trusts, and what it shows.
    fn tls_over(&self, scope: &Scope<'_>, defaults: &Self) -> ClientFiles {
        let endpoint = self.endpoint_over(defaults);
        let scheme = endpoint.and_then(|given| given.value.as_ref()).map(Url::scheme);
        if let Some(endpoint) = endpoint.filter(|_| scheme == Some("https")) {
            scope.needs_file(Role::SystemRoots, Path::new(""), "health_check.http_endpoint", endpoint);
        } else if scheme.is_some()
            && let Some((key, given)) = self.http_tls.given()
        {
            // Whoever set it for this agent believes that the agent has to prove who it is.
            let fact = "is set, but the agent is not asked over TLS".to_owned();
            let remedy = "write `http_endpoint` with `https://`, or remove it".to_owned();
            scope.object(given, &format!("health_check.http_tls.{key}"), Fault { fact, remedy });
        }
        self.http_tls.over(&defaults.http_tls)
    }

    /// The agent's own, then the defaults of the file, then those of the program.
    fn over(self, defaults: &Self, kind: AgentKind) -> HealthCheck {
        // Programs of others send no heartbeats. A default that the file gives for all would have them restarted for
        // ever: so only their own entry can ask for that.
        let usual_timeout = match kind {
            AgentKind::Custom => defaults.heartbeat_timeout.unwrap_or(Some(Duration::from_secs(90))),
            AgentKind::Filebeat | AgentKind::Telegraf | AgentKind::NodeExporter => None,
        };
        let seconds = |own: Option<Duration>, default: Option<Duration>, usual| {
            own.or(default).unwrap_or(Duration::from_secs(usual))
        };
        let cpu = self.cpu_threshold.or(defaults.cpu_threshold).unwrap_or(50.0);
        let memory = self.memory_threshold.or(defaults.memory_threshold).unwrap_or(500 * 1024 * 1024);
        HealthCheck {
            interval: seconds(self.interval, defaults.interval, 30),
            heartbeat_timeout: self.heartbeat_timeout.unwrap_or(usual_timeout),
            http_endpoint: self.endpoint_over(defaults).and_then(|given| given.value.clone()),
            state_file: self.state_file.unwrap_or_else(|| defaults.state_file.clone().flatten()),
            state_max_age: seconds(self.state_max_age, defaults.state_max_age, 60),
            cpu_threshold: Some(cpu).filter(|&cpu| cpu > 0.0),
            memory_threshold: Some(memory).filter(|&memory| memory > 0),
            threshold_duration: seconds(self.threshold_duration, defaults.threshold_duration, 60),
            start_grace: seconds(self.start_grace, defaults.start_grace, 10),
        }
    }
}

/// What the HTTP check needs for TLS, as far as it is given. A certificate and its key go together.
struct GivenTls {
    ca: Option<Given<Option<PathBuf>>>,
    cert: Option<Given<Option<PathBuf>>>,
    identity: Option<Option<IdentityFiles>>,
}

impl GivenTls {
    fn read(scope: &Scope<'_>, section: &str) -> Self {
        let key = |key: &str| format!("{section}.{key}");
        let ca = tls_file(scope, &key("ca"), Role::Ca);
        let cert = tls_file(scope, &key("cert"), Role::Cert);
        let secret = tls_file(scope, &key("key"), Role::Key);
        // An empty one takes back what the defaults give.
        let given = cert.is_some() || secret.is_some();
        let identity = given.then(|| identity_of(scope, section, cert.clone(), secret));
        Self { ca, cert, identity }
    }

    /// One that is set, for a message.
    fn given(&self) -> Option<(&'static str, &Given<Option<PathBuf>>)> {
        let set = |given: &&Given<Option<PathBuf>>| given.value.is_some();
        let ca = self.ca.as_ref().filter(set).map(|given| ("ca", given));
        ca.or_else(|| self.cert.as_ref().filter(set).map(|given| ("cert", given)))
    }

    fn over(&self, defaults: &Self) -> ClientFiles {
        let ca = self.ca.as_ref().or(defaults.ca.as_ref()).and_then(|given| given.value.clone());
        ClientFiles { ca, identity: self.identity.clone().or_else(|| defaults.identity.clone()).flatten() }
    }
}

/// A restart policy as far as it is given.
struct GivenRestart {
    when: Option<RestartWhen>,
    max_retries: Option<u32>,
    backoff_base: Option<Given<Duration>>,
    backoff_max: Option<Given<Duration>>,
}

impl GivenRestart {
    fn read(scope: &Scope<'_>, section: &str) -> Self {
        let key = |key: &str| format!("{section}.{key}");
        Self {
            when: scope.get(&key("policy"), choice(&POLICIES)).map(|given| given.value),
            max_retries: scope.get(&key("max_retries"), integer(0..=1_000_000)).map(|given| given.value),
            backoff_base: scope.get(&key("backoff_base"), duration(SHORTEST..=HOUR)),
            backoff_max: scope.get(&key("backoff_max"), duration(SHORTEST..=DAY)),
        }
    }

    fn over(self, scope: &Scope<'_>, defaults: &Self) -> Policy {
        let usual = Policy::default();
        let time = |given: Option<&Given<Duration>>, usual| given.map_or(usual, |given| given.value);
        let base = self.backoff_base.as_ref().or(defaults.backoff_base.as_ref());
        let max = self.backoff_max.as_ref().or(defaults.backoff_max.as_ref());
        let policy = Policy {
            when: self.when.or(defaults.when).unwrap_or(usual.when),
            max_retries: self.max_retries.or(defaults.max_retries).unwrap_or(usual.max_retries),
            backoff_base: time(base, usual.backoff_base),
            backoff_max: time(max, usual.backoff_max),
        };
        if let Some(given) = base.or(max).filter(|_| policy.backoff_base > policy.backoff_max) {
            let fact = "makes the first wait longer than the longest, `backoff_max`".to_owned();
            let remedy = "set `backoff_base` to at most `backoff_max`, which is 1m if not given".to_owned();
            scope.object(given, "restart.backoff_base", Fault { fact, remedy });
        }
        policy
    }
}
