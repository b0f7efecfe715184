//! The keys that agent and daemon have in common: where they listen, what TLS needs, and what they log.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ops_http::server::ServerLimits;
use ops_http::tls::{self, IdentityFiles, Role, ServerFiles};

use super::agent::{HttpConfig, LogConfig, LogFormat, LogLevel};
use super::key::{Key, Reload, key};
use super::numbers::{Time, Whole};
use super::places::{FilePath, Host, PemFile};
use super::raw::Fault;
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

/// The sections of one program that both have.
pub(super) struct Common<'a> {
    /// When a changed log setting applies.
    pub(super) log_reload: Reload,
    /// The port of the API if none is given.
    pub(super) port: u16,
    /// The limits of the API if none are given.
    pub(super) limits: ServerLimits,
    /// What only a caller with the token may request.
    pub(super) guarded: &'a str,
    /// Whether its file has short forms.
    pub(super) short_forms: bool,
}

impl Common<'_> {
    fn short<T>(&self, key: Key<T>, short: &'static str) -> Key<T> {
        if self.short_forms { key.short(short) } else { key }
    }

    /// What is logged, and where. `parent` holds the section.
    pub(super) fn log(&self, parent: &Scope<'_>) -> LogConfig {
        let log = parent.section("log", "The log.");
        let reload = self.log_reload;
        let level = key("level", LEVELS, reload, "Log events of this level and above.");
        let file = key("file", OrEmpty(FilePath), reload, "The file to append the log to. Empty: standard output.");
        LogConfig {
            level: log.value(&self.short(level, "log_level"), LogLevel::Info),
            format: log.value(&key("format", FORMATS, reload, "The format of a log line."), LogFormat::Json),
            file: log.value(&self.short(file, "log_file"), None),
        }
    }

    /// Where the API listens. `parent` holds the section.
    pub(super) fn http(&self, parent: &Scope<'_>) -> HttpConfig {
        let http = parent.section("http", "The HTTP API.");
        let host = http.sourced(
            &key(
                "host",
                Host,
                Reload::Restart,
                "The address to listen on. One that other hosts reach needs `token_file` or `tls.client_ca`.",
            ),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        );
        let port = key("port", Whole(0, u16::MAX), Reload::Restart, "The port to listen on. 0 takes any free port.");
        let port = http.value(&self.short(port, "http_port"), self.port);
        let token_file = http.optional(
            &key(
                "token_file",
                OrEmpty(FilePath),
                Reload::Restart,
                "A file with the bearer token that protected requests need (`Authorization: Bearer TOKEN`).",
            ),
            "/etc/ops-agent/token",
        );
        let token_file = token_file.and_then(|given| given.value);
        let tls = server_tls(&http);
        let guard = token_file.is_some() || tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if host.is_given() && !host.value.is_loopback() && !guard {
            let fact = format!("is {}, which others reach, and nothing guards {} from them", host.value, self.guarded);
            let remedy = format!(
                "set `{}` to a file with a token, ask for certificates by `{}`, or listen on `127.0.0.1`",
                http.path("token_file"),
                http.path("tls.client_ca")
            );
            http.object(&host, "host", Fault { fact, remedy });
        }
        HttpConfig { host: host.value, port, token_file, tls, limits: limits(&http, &self.limits) }
    }
}

/// A file that TLS needs, if one is named.
pub(super) fn tls_file(
    tls: &Scope<'_>,
    role: Role,
    key: &Key<OrEmpty<PemFile>>,
    example: &'static str,
) -> Option<Sourced<Option<PathBuf>>> {
    let given = tls.optional(key, example)?;
    // The section that an inherited value comes from has been read for itself.
    if let Some(path) = given.value.as_ref().filter(|_| !given.inherited) {
        tls.needs_file(role, path, key.name, &given);
        if !tls::AVAILABLE {
            let fact = "asks for TLS, which is not in this build".to_owned();
            let remedy = "remove it, or use a build with the feature `tls`".to_owned();
            tls.object(&given, key.name, Fault { fact, remedy });
        }
    }
    Some(given)
}

/// A certificate and the key to it, which make sense only together.
pub(super) fn identity(
    tls: &Scope<'_>,
    cert: Option<Sourced<Option<PathBuf>>>,
    key: Option<Sourced<Option<PathBuf>>>,
) -> Option<IdentityFiles> {
    let alone = |given: &Sourced<Option<PathBuf>>, name: &str, other: &str| {
        if given.inherited {
            return None;
        }
        let fact = format!("has no `{}` beside it", tls.below_item(other));
        tls.object(given, name, Fault { fact, remedy: "give both, or neither".to_owned() });
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

/// The certificate that the API shows, and the CA of the certificates that it takes.
fn server_tls(http: &Scope<'_>) -> Option<ServerFiles> {
    const PEM: OrEmpty<PemFile> = OrEmpty(PemFile);
    let tls = http.section("tls", "TLS for the API. The files are read again at each reload.");
    let cert = key("cert", PEM, Reload::Restart, "The server's certificate chain. With `key`, the API speaks HTTPS.");
    let cert = tls_file(&tls, Role::Cert, &cert, "/etc/ops-agent/server.pem");
    let has_cert = cert.as_ref().is_some_and(|given| given.value.is_some());
    let secret = key("key", PEM, Reload::Restart, "The private key of `cert`.");
    let identity = identity(&tls, cert, tls_file(&tls, Role::Key, &secret, "/etc/ops-agent/server.key"));
    let ca = key(
        "client_ca",
        PEM,
        Reload::Restart,
        "The CA that clients need a certificate of. Then no `token_file` is needed.",
    );
    let client_ca = tls_file(&tls, Role::Ca, &ca, "/etc/ops-agent/ca.pem").filter(|given| given.value.is_some());
    if let Some(ca) = client_ca.as_ref().filter(|_| identity.is_none() && !has_cert) {
        let fact = format!("asks clients for certificates, and there is no `{}` to speak TLS with", tls.path("cert"));
        let remedy = format!("give `{}` and `{}` too", tls.path("cert"), tls.path("key"));
        tls.object(ca, "client_ca", Fault { fact, remedy });
    }
    Some(ServerFiles { identity: identity?, client_ca: client_ca.and_then(|given| given.value) })
}

fn limits(http: &Scope<'_>, usual: &ServerLimits) -> ServerLimits {
    let limits = http.section("limits", "Limits of the API.");
    let time = |name, default, doc| limits.value(&key(name, Time(SHORTEST, HOUR), Reload::Restart, doc), default);
    let count = |name, default, doc| limits.value(&key(name, Whole(1, 65_536), Reload::Restart, doc), default);
    let bytes =
        |name, (from, to), default, doc| limits.value(&key(name, Whole(from, to), Reload::Restart, doc), default);
    ServerLimits {
        // Less than 8 KiB is less than hyper reads at once.
        head_bytes: bytes("head_bytes", (8192, 1 << 20), usual.head_bytes, "The longest request head, in bytes."),
        head_timeout: time("head_timeout", usual.head_timeout, "The time limit for a request head."),
        body_bytes: bytes("body_bytes", (0, 16 << 20), usual.body_bytes, "The longest request body, in bytes."),
        body_timeout: time("body_timeout", usual.body_timeout, "The time limit for a request body."),
        write_timeout: time("write_timeout", usual.write_timeout, "How long a peer may read nothing of a response."),
        idle_timeout: time("idle_timeout", usual.idle_timeout, "How long a connection may be idle."),
        connections: count("connections", usual.connections, "The most open connections."),
        connections_per_peer: count("connections_per_peer", usual.connections_per_peer, "The most from one address."),
        connections_loopback: count("connections_loopback", usual.connections_loopback, "The most from this host."),
    }
}
