//! The keys of a health check, which an agent's own section and the defaults for all agents have in common.

use std::path::PathBuf;
use std::time::Duration;

use http_client::http_types::Url;
use ops_http::tls::{ClientFiles, IdentityFiles, Role};

use super::common_schema::{identity, tls_file};
use super::daemon::{AgentKind, HealthCheck};
use super::key::Reload::NewProcess;
use super::key::key;
use super::numbers::{Decimal, Time, TimeOrNone, Whole};
use super::places::{FilePath, HttpAddress, PemFile};
use super::raw::Fault;
use super::reader::Sourced;
use super::scope::Scope;
use super::values::{DAY, HOUR, OrEmpty, SHORTEST};

/// The section.
pub(super) fn health_section<'r>(parent: &Scope<'r>) -> Scope<'r> {
    parent.section("health_check", "How the health of an agent is judged.")
}

/// A health check, with what gives the values that have to fit together.
pub(super) struct HealthKeys {
    pub(super) http_endpoint: Option<Sourced<Option<Url>>>,
    check: HealthCheck,
    tls: TlsKeys,
}

impl HealthKeys {
    pub(super) fn read(scope: &Scope<'_>, kind: AgentKind) -> Self {
        let time = |name, from, default, doc| {
            scope.value(&key(name, Time(from, DAY), NewProcess, doc), Duration::from_secs(default))
        };
        let interval =
            key("interval", Time(SHORTEST, HOUR), NewProcess, "The time from one round of checks to the next.");
        let endpoint = key(
            "http_endpoint",
            OrEmpty(HttpAddress),
            NewProcess,
            "An address that answers a GET with 2xx within 5 s while all is well. Empty: not checked.",
        );
        let http_endpoint = scope.sourced(&endpoint, None);
        let state_file = key(
            "state_file",
            OrEmpty(FilePath),
            NewProcess,
            "The agent's status file, for the check of its timestamp. Empty: not checked.",
        );
        let cpu = key(
            "cpu_threshold",
            Decimal(0.0, 100.0),
            NewProcess,
            "The most CPU, in percent of the whole machine. 0: no limit.",
        );
        let memory =
            key("memory_threshold", Whole(0, 1 << 50), NewProcess, "The most resident memory, in bytes. 0: no limit.");
        let check = HealthCheck {
            interval: scope.value(&interval, Duration::from_secs(30)),
            heartbeat_timeout: heartbeat_timeout(scope, kind),
            http_endpoint: http_endpoint.value.clone(),
            state_file: scope.value(&state_file, None),
            state_max_age: time("state_max_age", SHORTEST, 60, "The greatest age of the status file's timestamp."),
            cpu_threshold: Some(scope.value(&cpu, 50.0)).filter(|&cpu| cpu > 0.0),
            memory_threshold: Some(scope.value(&memory, 500 * 1024 * 1024)).filter(|&memory| memory > 0),
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

    /// Notes that TLS files are given for an agent, in its own section, that is not checked over TLS.
    pub(super) fn refuse_tls(&self, own: &Scope<'_>) {
        let tls = TlsKeys::section(own);
        let set = |given: &&Sourced<Option<PathBuf>>| given.value.is_some() && !given.inherited;
        let cert = self.tls.cert.as_ref().filter(set).map(|given| ("cert", given));
        if let Some((name, given)) = self.tls.ca.as_ref().filter(set).map(|given| ("ca", given)).or(cert) {
            let fact = "is set, but the agent is not asked over TLS".to_owned();
            let remedy = "write `http_endpoint` with `https://`, or remove it".to_owned();
            tls.object(given, name, Fault { fact, remedy });
        }
    }

    pub(super) fn into_parts(self) -> (HealthCheck, ClientFiles) {
        let ca = self.tls.ca.and_then(|given| given.value);
        (self.check, ClientFiles { ca, identity: self.tls.identity })
    }
}

/// Other programs than ours send no heartbeats. A default for all agents would restart them
/// forever, so only their own section can set it.
fn heartbeat_timeout(scope: &Scope<'_>, kind: AgentKind) -> Option<Duration> {
    let timeout = key(
        "heartbeat_timeout",
        TimeOrNone(SHORTEST, DAY),
        NewProcess,
        "The longest time without a heartbeat. 0: the agent sends none.",
    );
    let shown = ("`90s` for `type: custom`, otherwise `0`", "90s");
    match kind {
        AgentKind::Custom => scope.computed(&timeout, shown, || Some(Duration::from_secs(90))),
        AgentKind::Filebeat | AgentKind::Telegraf | AgentKind::NodeExporter => {
            scope.own().computed(&timeout, shown, || None)
        }
    }
}

/// The TLS files of the HTTP check. A certificate and its key are taken from one section, so that
/// they fit together.
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
        let ca = key(
            "ca",
            PEM,
            NewProcess,
            "The CA that signs the agent's certificate. Default: the CAs that the system trusts.",
        );
        let ca = tls_file(&tls, Role::Ca, &ca, "/etc/ops-agent/ca.pem");
        let cert = key("cert", PEM, NewProcess, "The daemon's certificate chain, for an agent that asks for one.");
        let secret = key("key", PEM, NewProcess, "The private key of `cert`.");
        // Where an agent's own section gives one of the two, an empty one included, the defaults do
        // not count.
        let pair = if tls.has("cert") || tls.has("key") { tls.own() } else { tls };
        let cert = tls_file(&pair, Role::Cert, &cert, "/etc/ops-agent/daemon.pem");
        let secret = tls_file(&pair, Role::Key, &secret, "/etc/ops-agent/daemon.key");
        let identity = identity(&pair, cert.clone(), secret);
        Self { ca, cert, identity }
    }
}
