//! The keys of a health check. An agent's section and the defaults for all agents have the same keys.

use std::path::PathBuf;
use std::time::Duration;

use http_client::http_types::Url;
use ops_http::tls::{ClientFiles, IdentityFiles, Role};

use super::agent_file::AgentFile;
use super::command::CommandLine;
use super::common_schema::{identity, tls_file};
use super::daemon::{AgentKind, HealthCheck, HeartbeatProof};
use super::host_checks::PathUse;
use super::key::Reload::Live;
use super::key::{Key, key};
use super::numbers::{Decimal, Time, TimeOrNone, Whole, show_duration};
use super::paths::{FilePath, HttpAddress, PemFile};
use super::raw::ValueError;
use super::reader::Sourced;
use super::scope::Scope;
use super::tcp_address::HostAndPort;
use super::values::{Choice, DAY, HOUR, MINUTE, OrEmpty, SHORTEST};

/// The section.
pub(super) fn health_section<'r>(parent: &Scope<'r>) -> Scope<'r> {
    parent.section("health_check", "How the health of an agent is judged.")
}

pub(super) const CPU_THRESHOLD: Key<Decimal> =
    key("cpu_threshold", Decimal(0.0, 100.0), Live, "The CPU limit, in percent of the whole machine. 0: no limit.");

const HEARTBEAT_TIMEOUT: Key<TimeOrNone> = key(
    "heartbeat_timeout",
    TimeOrNone(SHORTEST, DAY),
    Live,
    "The longest time without a heartbeat. 0: the agent sends none.",
);

const PROOFS: Choice<HeartbeatProof> =
    Choice(&[("preferred", HeartbeatProof::Preferred), ("required", HeartbeatProof::Required)]);

const HEARTBEAT_PROOF: Key<Choice<HeartbeatProof>> = key(
    "heartbeat_proof",
    PROOFS,
    Live,
    "Which heartbeats count. `required`: those with the start secret, or from a process of the agent over a Unix socket. \
     `preferred`: also those over HTTP from this host that name a process of the agent, until the start has proved itself.",
);

const HTTP_TIMEOUT: Key<Time> = key(
    "http_timeout",
    Time(SHORTEST, MINUTE),
    Live,
    "How long a check of HTTP, TCP or a program may take until it fails.",
);

const HTTP_FAILURES: Key<Whole<u32>> = key(
    "http_failures",
    Whole(1, 100),
    Live,
    "The failures in a row from which on a check of HTTP, TCP or a program is bad.",
);

const TCP: Key<OrEmpty<HostAndPort>> =
    key("tcp", OrEmpty(HostAndPort), Live, "The address of a port that must accept connections. Empty: not checked.");

const EXEC: Key<CommandLine> = key(
    "exec",
    CommandLine,
    Live,
    "A program that checks the agent, as its user and without a shell, with the exit codes of Nagios plugins: 0 is good, 1 \
     a warning that restarts nothing, 2 a failure, anything else unknown. Empty: none.",
);

const MEMORY_THRESHOLD: Key<Whole<u64>> =
    key("memory_threshold", Whole(0, 1 << 50), Live, "The limit of resident memory, in bytes. 0: no limit.");

const OPEN_FILES_THRESHOLD: Key<Whole<u64>> = key(
    "open_files_threshold",
    Whole(0, 1 << 40),
    Live,
    "The limit of open files, the sum over all processes. 0: no limit.",
);

/// The interval of the heartbeats of an agent whose file does not set it.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// A health check, with the sources of the values that depend on each other.
pub(super) struct HealthKeys {
    pub(super) http_endpoint: Option<Sourced<Option<Url>>>,
    check: HealthCheck,
    tls: TlsKeys,
}

impl HealthKeys {
    pub(super) fn read(scope: &Scope<'_>, kind: AgentKind) -> Self {
        let time = |name, from, default, doc| {
            scope.value(&key(name, Time(from, DAY), Live, doc), Duration::from_secs(default))
        };
        let interval = key("interval", Time(SHORTEST, HOUR), Live, "The time from one round of checks to the next.");
        let endpoint = key(
            "http_endpoint",
            OrEmpty(HttpAddress),
            Live,
            "The address of the HTTP check, which passes if a GET gets 2xx in time. Empty: not checked.",
        );
        let http_endpoint = scope.sourced(&endpoint, None);
        warn_of_endpoint(scope, &http_endpoint);
        let exec = scope.sourced(&EXEC, None);
        if let Some(command) = exec.value.as_ref().filter(|_| !exec.inherited) {
            scope.uses_path(PathUse::Program(command.program.clone()), EXEC.name, &exec);
        }
        let state_file = key(
            "state_file",
            OrEmpty(FilePath),
            Live,
            "The agent's status file, for the check of its timestamp. Empty: not checked.",
        );
        let limit = |key, default| Some(scope.value(key, default)).filter(|&limit: &u64| limit > 0);
        let check = HealthCheck {
            interval: scope.value(&interval, Duration::from_secs(30)),
            heartbeat_timeout: heartbeat_timeout(scope, kind),
            heartbeat_proof: scope.value(&HEARTBEAT_PROOF, HeartbeatProof::Preferred),
            http_endpoint: http_endpoint.value.clone(),
            tcp: scope.value(&TCP, None),
            exec: exec.value,
            http_timeout: scope.value(&HTTP_TIMEOUT, Duration::from_secs(5)),
            http_failures: scope.value(&HTTP_FAILURES, 3),
            state_file: scope.value(&state_file, None),
            state_max_age: time("state_max_age", SHORTEST, 60, "The maximum age of the status file's timestamp."),
            cpu_threshold: Some(scope.value(&CPU_THRESHOLD, 50.0)).filter(|&cpu| cpu > 0.0),
            memory_threshold: limit(&MEMORY_THRESHOLD, 500 * 1024 * 1024),
            open_files_threshold: limit(&OPEN_FILES_THRESHOLD, 0),
            threshold_duration: time(
                "threshold_duration",
                Duration::ZERO,
                60,
                "How long the agent may exceed a threshold.",
            ),
            start_grace: time(
                "start_grace",
                Duration::ZERO,
                10,
                "The time after a start in which only the process itself is checked.",
            ),
        };
        let http_endpoint = Some(http_endpoint).filter(Sourced::is_given);
        Self { http_endpoint, check, tls: TlsKeys::read(scope) }
    }

    /// Reports TLS files in an agent's own section if its check does not use TLS.
    pub(super) fn refuse_tls(&self, own: &Scope<'_>) {
        let tls = TlsKeys::section(own);
        let set = |given: &&Sourced<Option<PathBuf>>| given.value.is_some() && !given.inherited;
        let cert = self.tls.cert.as_ref().filter(set).map(|given| ("cert", given));
        if let Some((name, given)) = self.tls.ca.as_ref().filter(set).map(|given| ("ca", given)).or(cert) {
            let fact = "is set, but the HTTP check does not use TLS".to_owned();
            let remedy = "begin `http_endpoint` with `https://`, or remove this key".to_owned();
            tls.report(given, name, ValueError { fact, remedy });
        }
    }

    /// Warns about a timeout that restarts an agent without need.
    pub(super) fn warn_of_timeout(&self, scope: &Scope<'_>, kind: AgentKind, file: Option<AgentFile>) {
        let (Some(timeout), Some(given)) = (self.check.heartbeat_timeout, self.timeout_given(scope, kind)) else {
            return;
        };
        let shown = show_duration(timeout);
        let warn = |fact: String, remedy| scope.warn(&given, HEARTBEAT_TIMEOUT.name, &fact, remedy);
        if !matches!(kind, AgentKind::Custom) {
            let fact = format!("is {shown}, but a program of this `type` sends no heartbeats");
            return warn(fact, "set it to 0".to_owned());
        }
        let rounds = self.check.interval * 2;
        let beats = file.map(|file| (file.heartbeat_interval.unwrap_or(DEFAULT_INTERVAL), file.heartbeat_interval));
        if let Some((every, known)) = beats.filter(|(every, _)| timeout < *every * 2 && rounds <= *every * 2) {
            let by_default = if known.is_some() { "" } else { " by default" };
            let fact = format!(
                "is {shown}, and the agent sends a heartbeat every {}{by_default}, so one that is lost restarts it",
                show_duration(every)
            );
            warn(fact, format!("set it to at least {}", show_duration(every * 2)));
        } else if timeout < rounds {
            let fact =
                format!("is {shown}, less than two rounds of checks, and `interval` is {}", show_duration(rounds / 2));
            warn(fact, format!("set it to at least {}", show_duration(rounds)));
        }
    }

    /// The timeout in the file. Programs of others take none from the defaults.
    fn timeout_given(&self, scope: &Scope<'_>, kind: AgentKind) -> Option<Sourced<Option<Duration>>> {
        match kind {
            AgentKind::Custom => scope.given(&HEARTBEAT_TIMEOUT),
            AgentKind::Filebeat | AgentKind::Telegraf | AgentKind::NodeExporter => {
                scope.own().given(&HEARTBEAT_TIMEOUT)
            }
        }
    }

    pub(super) fn into_parts(self) -> (HealthCheck, ClientFiles) {
        let ca = self.tls.ca.and_then(|given| given.value);
        (self.check, ClientFiles { ca, identity: self.tls.identity })
    }
}

/// Warns about a path that says more than whether the agent lives. The defaults are judged once, at their own place.
fn warn_of_endpoint(scope: &Scope<'_>, given: &Sourced<Option<Url>>) {
    let Some(url) = given.value.as_ref().filter(|_| !given.inherited) else { return };
    let path = url.path().trim_end_matches('/');
    if let Some(end) = ["/health", "/readyz"].into_iter().find(|end| path.ends_with(end)) {
        let fact = format!("ends in `{end}`, which an agent answers with 503 while it is Degraded");
        scope.warn(given, "http_endpoint", &fact, "write `/livez`".to_owned());
    }
}

/// Third-party programs send no heartbeats. A default for all agents would restart them without
/// end, so only their own section can set a timeout.
fn heartbeat_timeout(scope: &Scope<'_>, kind: AgentKind) -> Option<Duration> {
    let shown = ("`90s` for `type: custom`, otherwise `0`", "90s");
    match kind {
        AgentKind::Custom => scope.computed(&HEARTBEAT_TIMEOUT, shown, || Some(Duration::from_secs(90))),
        AgentKind::Filebeat | AgentKind::Telegraf | AgentKind::NodeExporter => {
            scope.own().computed(&HEARTBEAT_TIMEOUT, shown, || None)
        }
    }
}

/// The TLS files of the HTTP check. A certificate and its key come from the same section, so that
/// they match.
struct TlsKeys {
    ca: Option<Sourced<Option<PathBuf>>>,
    cert: Option<Sourced<Option<PathBuf>>>,
    identity: Option<IdentityFiles>,
}

impl TlsKeys {
    fn section<'r>(health_check: &Scope<'r>) -> Scope<'r> {
        health_check.section("http_tls", "TLS for an `https` endpoint. The files are read again at each reload.")
    }

    fn read(health_check: &Scope<'_>) -> Self {
        const PEM: OrEmpty<PemFile> = OrEmpty(PemFile);
        let tls = Self::section(health_check);
        let ca = key("ca", PEM, Live, "The CA that signed the agent's certificate. Default: the system's CAs.");
        let ca = tls_file(&tls, Role::Ca, &ca, "/etc/ops-agent/ca.pem");
        let cert = key("cert", PEM, Live, "The daemon's certificate chain, for an agent that requires one.");
        let secret = key("key", PEM, Live, "The private key of `cert`.");
        // If an agent's own section sets one of the two, even to an empty value, the defaults do not
        // apply.
        let pair = if tls.has("cert") || tls.has("key") { tls.own() } else { tls };
        let cert = tls_file(&pair, Role::Cert, &cert, "/etc/ops-agent/daemon.pem");
        let secret = tls_file(&pair, Role::Key, &secret, "/etc/ops-agent/daemon.key");
        let identity = identity(&pair, cert.clone(), secret);
        Self { ca, cert, identity }
    }
}
