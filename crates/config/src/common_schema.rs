//! The keys that agent and daemon have in common: listener, TLS and log.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ops_http::server::ServerLimits;
use ops_http::tls::{self, IdentityFiles, Role, ServerFiles};

use super::agent::{HttpConfig, LogConfig, LogFormat, LogLevel};
use super::host_checks::PathUse;
use super::key::{Key, Reload, key};
use super::numbers::{Time, Whole};
use super::paths::{FilePath, Host, PemFile};
use super::raw::ValueError;
use super::reader::Sourced;
use super::scope::Scope;
use super::values::{Choice, HOUR, OrEmpty, SHORTEST};

const LEVELS: Choice<LogLevel> = Choice(&[
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
]);
const FORMATS: Choice<LogFormat> = Choice(&[("json", LogFormat::Json), ("text", LogFormat::Text)]);

/// The differences between the common sections of the two programs.
pub(super) struct Common {
    /// When a changed log setting applies.
    pub(super) log_reload: Reload,
    /// The default port of the API.
    pub(super) port: u16,
    /// The default limits of the API.
    pub(super) limits: ServerLimits,
    /// What an unprotected listener on an address that other hosts can reach means.
    pub(super) unprotected: Unprotected,
    /// The short forms of its keys.
    pub(super) short: ShortForms,
}

/// What an unprotected listener on an address that other hosts can reach means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unprotected {
    /// A warning: some requests are answered for this host only.
    Warning,
    /// An error.
    Error,
}

impl Unprotected {
    const fn host_doc(self) -> &'static str {
        match self {
            Self::Warning => {
                "The address to listen on. Without `token_file` or `tls.client_ca`, `POST /reload` accepts only \
                 requests from this host."
            }
            Self::Error => {
                "The address to listen on. An address that other hosts can reach needs `token_file` or `tls.client_ca`."
            }
        }
    }
}

/// The short forms of the common keys.
pub(super) struct ShortForms {
    pub(super) log_level: &'static str,
    pub(super) log_file: &'static str,
    pub(super) http_port: &'static str,
}

impl Common {
    /// Reads the section `log` in `parent`.
    pub(super) fn log(&self, parent: &Scope<'_>) -> LogConfig {
        let log = parent.section("log", "The log.");
        let reload = self.log_reload;
        let level = key("level", LEVELS, reload, "Log events of this level and above.");
        let file = key("file", OrEmpty(FilePath), reload, "The file to append the log to. Empty: standard output.");
        let level = log.value(&level.short(self.short.log_level), LogLevel::Info);
        let format = log.value(&key("format", FORMATS, reload, "The format of a log line."), LogFormat::Json);
        let file = log.sourced(&file.short(self.short.log_file), None);
        if let Some(path) = &file.value {
            log.uses_path(PathUse::Log(path.clone()), "file", &file);
        }
        LogConfig { level, format, file: file.value }
    }

    /// Reads the section `http` in `parent`.
    pub(super) fn http(&self, parent: &Scope<'_>) -> HttpConfig {
        let http = parent.section("http", "The HTTP API.");
        let host = http
            .sourced(&key("host", Host, Reload::Restart, self.unprotected.host_doc()), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = key("port", Whole(0, u16::MAX), Reload::Restart, "The port to listen on. 0 takes any free port.");
        let port = http.value(&port.short(self.short.http_port), self.port);
        let token_file = http.optional(
            &key(
                "token_file",
                OrEmpty(FilePath),
                Reload::Restart,
                "A file with the bearer token that protected requests need (`Authorization: Bearer TOKEN`). It is read again at each reload.",
            ),
            "/etc/ops-agent/token",
        );
        if let Some((given, path)) = token_file.as_ref().and_then(|given| Some((given, given.value.as_ref()?))) {
            http.needs_file(Role::Token, path, "token_file", given);
        }
        let token_file = token_file.and_then(|given| given.value);
        let tls = server_tls(&http);
        let guard = token_file.is_some() || tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if host.is_given() && !host.value.is_loopback() && !guard {
            let remedy = format!(
                "set `{}` to a file with a token, require client certificates with `{}`, or listen on `127.0.0.1`",
                http.path("token_file"),
                http.path("tls.client_ca")
            );
            let reach = format!("is {}, which other hosts can reach", host.value);
            match self.unprotected {
                Unprotected::Warning => {
                    let fact =
                        format!("{} {reach}, and `POST /reload` accepts only requests from this host", host.subject);
                    http.reader.warn(&http.path("host"), fact, remedy, host.location.clone());
                }
                Unprotected::Error => {
                    let fact = format!("{reach}, and the control of the agents is not protected");
                    http.report(&host, "host", ValueError { fact, remedy });
                }
            }
        }
        HttpConfig { host: host.value, port, token_file, tls, limits: limits(&http, &self.limits) }
    }
}

/// Reads a key that names a TLS file.
pub(super) fn tls_file(
    tls: &Scope<'_>,
    role: Role,
    key: &Key<OrEmpty<PemFile>>,
    example: &'static str,
) -> Option<Sourced<Option<PathBuf>>> {
    let given = tls.optional(key, example)?;
    // An inherited value was checked when its own section was read.
    if let Some(path) = given.value.as_ref().filter(|_| !given.inherited) {
        tls.needs_file(role, path, key.name, &given);
        if !tls::AVAILABLE {
            let fact = "requires TLS, which this build does not support".to_owned();
            let remedy = "remove it, or use a build with the feature `tls`".to_owned();
            tls.report(&given, key.name, ValueError { fact, remedy });
        }
    }
    Some(given)
}

/// A certificate and its key. One without the other is a problem.
pub(super) fn identity(
    tls: &Scope<'_>,
    cert: Option<Sourced<Option<PathBuf>>>,
    key: Option<Sourced<Option<PathBuf>>>,
) -> Option<IdentityFiles> {
    let alone = |given: &Sourced<Option<PathBuf>>, name: &str, other: &str| {
        if given.inherited {
            return None;
        }
        let fact = format!("is set without `{}`", tls.below_item(other));
        tls.report(given, name, ValueError { fact, remedy: "set both, or neither".to_owned() });
        None
    };
    match (cert.filter(|given| given.value.is_some()), key.filter(|given| given.value.is_some())) {
        (Some(Sourced { value: Some(cert), .. }), Some(Sourced { value: Some(key), .. })) => {
            Some(IdentityFiles { cert, key })
        }
        (Some(cert), None) => alone(&cert, "cert", "key"),
        (None, Some(key)) => alone(&key, "key", "cert"),
        _ => None,
    }
}

/// The certificate of the API, and the CA of its clients.
fn server_tls(http: &Scope<'_>) -> Option<ServerFiles> {
    const PEM: OrEmpty<PemFile> = OrEmpty(PemFile);
    let tls = http.section("tls", "TLS for the API. The files are read again at each reload.");
    let cert = key("cert", PEM, Reload::Restart, "The server's certificate chain. With `key`, the API uses HTTPS.");
    let cert = tls_file(&tls, Role::Cert, &cert, "/etc/ops-agent/server.pem");
    let has_cert = cert.as_ref().is_some_and(|given| given.value.is_some());
    let secret = key("key", PEM, Reload::Restart, "The private key of `cert`.");
    let identity = identity(&tls, cert, tls_file(&tls, Role::Key, &secret, "/etc/ops-agent/server.key"));
    let ca = key(
        "client_ca",
        PEM,
        Reload::Restart,
        "The CA that signs client certificates. Clients need one, and `token_file` is not needed.",
    );
    let client_ca = tls_file(&tls, Role::Ca, &ca, "/etc/ops-agent/ca.pem").filter(|given| given.value.is_some());
    if let Some(ca) = client_ca.as_ref().filter(|_| identity.is_none() && !has_cert) {
        let fact = format!("requires client certificates, but `{}` is not set", tls.path("cert"));
        let remedy = format!("set `{}` and `{}` too", tls.path("cert"), tls.path("key"));
        tls.report(ca, "client_ca", ValueError { fact, remedy });
    }
    Some(ServerFiles { identity: identity?, client_ca: client_ca.and_then(|given| given.value) })
}

fn limits(http: &Scope<'_>, default: &ServerLimits) -> ServerLimits {
    let limits = http.section("limits", "Limits of the API.");
    let time = |name, default, doc| limits.value(&key(name, Time(SHORTEST, HOUR), Reload::Restart, doc), default);
    let count = |name, default, doc| limits.value(&key(name, Whole(1, 65_536), Reload::Restart, doc), default);
    let bytes =
        |name, (from, to), default, doc| limits.value(&key(name, Whole(from, to), Reload::Restart, doc), default);
    ServerLimits {
        // 8 KiB is hyper's minimum.
        head_bytes: bytes(
            "head_bytes",
            (8192, 1 << 20),
            default.head_bytes,
            "The size limit of a request head, in bytes.",
        ),
        head_timeout: time("head_timeout", default.head_timeout, "The time limit for a request head."),
        body_bytes: bytes(
            "body_bytes",
            (0, 16 << 20),
            default.body_bytes,
            "The size limit of a request body, in bytes.",
        ),
        all_bodies_bytes: bytes(
            "all_bodies_bytes",
            (1, 1 << 30),
            default.all_bodies_bytes,
            "The size limit of all request bodies together, in bytes.",
        ),
        all_responses_bytes: bytes(
            "all_responses_bytes",
            (1, 1 << 30),
            default.all_responses_bytes,
            "The size limit of all answers that their clients do not read, in bytes.",
        ),
        body_timeout: time("body_timeout", default.body_timeout, "The time limit for a request body."),
        write_timeout: time("write_timeout", default.write_timeout, "The time limit for a write without progress."),
        idle_timeout: time("idle_timeout", default.idle_timeout, "How long a connection may be idle."),
        connections: count("connections", default.connections, "The maximum number of open connections."),
        connections_per_peer: count(
            "connections_per_peer",
            default.connections_per_peer,
            "The maximum per peer address.",
        ),
        connections_loopback: count(
            "connections_loopback",
            default.connections_loopback,
            "The maximum from this host.",
        ),
    }
}
