//! The keys that agent and daemon have in common: where they listen, and what they log.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::agent::{Framing, HttpConfig, LogConfig, LogFormat, LogLevel};
use super::places::{host, path, pem_file};
use super::reader::{Given, Scope};
use super::values::{Fault, choice, duration, integer, unless_empty};
use ops_http::server::ServerLimits;
use ops_http::tls::{self, IdentityFiles, Role, ServerFiles};

/// The shortest time that makes sense for a deadline or a cadence.
pub(super) const SHORTEST: Duration = Duration::from_millis(100);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The levels and their names.
pub(super) const LEVELS: [(&str, LogLevel); 4] =
    [("debug", LogLevel::Debug), ("info", LogLevel::Info), ("warn", LogLevel::Warn), ("error", LogLevel::Error)];
/// The formats and their names.
pub(super) const FORMATS: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("text", LogFormat::Text)];
/// The framings and their names.
pub(super) const FRAMINGS: [(&str, Framing); 2] = [("jsonrpc", Framing::JsonRpc), ("jsonlines", Framing::JsonLines)];

pub(super) fn value<T>(given: Option<Given<T>>, default: T) -> T {
    given.map_or(default, |given| given.value)
}

/// A section's keys: where it stands, and the short form of some of its keys.
pub(super) struct Names<'a> {
    pub(super) section: &'a str,
    pub(super) short: &'a [(&'a str, &'a str)],
}

impl Names<'_> {
    /// A key and, if it has one, its short form.
    fn of(&self, key: &str) -> Vec<String> {
        let short = self.short.iter().filter(|(long, _)| *long == key).map(|(_, short)| (*short).to_owned());
        std::iter::once(format!("{}.{key}", self.section)).chain(short).collect()
    }
}

/// What is logged, and where.
pub(super) fn log(scope: &Scope<'_>, names: &Names<'_>) -> LogConfig {
    LogConfig {
        level: value(scope.either(&names.of("level"), choice(&LEVELS)), LogLevel::Info),
        format: value(scope.either(&names.of("format"), choice(&FORMATS)), LogFormat::Json),
        file: value(scope.either(&names.of("file"), unless_empty(path)), None),
    }
}

/// A file that TLS needs, if one is named.
pub(super) fn tls_file(scope: &Scope<'_>, key: &str, role: Role) -> Option<Given<Option<PathBuf>>> {
    let given = scope.get(key, unless_empty(pem_file))?;
    if let Some(path) = &given.value {
        scope.needs_file(role, path, key, &given);
        if !tls::AVAILABLE {
            let fact = "asks for TLS, which is not in this build".to_owned();
            let remedy = "remove it, or use a build with the feature `tls`".to_owned();
            scope.object(&given, key, Fault { fact, remedy });
        }
    }
    Some(given)
}

/// A certificate and the key to it, which make sense only together.
pub(super) fn identity(
    scope: &Scope<'_>,
    section: &str,
    cert: Option<Given<Option<PathBuf>>>,
    key: Option<Given<Option<PathBuf>>>,
) -> Option<IdentityFiles> {
    let alone = |given: &Given<Option<PathBuf>>, name: &str, other: &str| {
        let fact = format!("has no `{section}.{other}` beside it");
        scope.object(given, &format!("{section}.{name}"), Fault { fact, remedy: "give both, or neither".to_owned() });
        None
    };
    match (cert.filter(|given| given.value.is_some()), key.filter(|given| given.value.is_some())) {
        (Some(Given { value: Some(cert), .. }), Some(Given { value: Some(key), .. })) => {
            Some(IdentityFiles { cert, key })
        }
        (Some(cert), None) => alone(&cert, "cert", "key"),
        (None, Some(key)) => alone(&key, "key", "cert"),
        _ => None,
    }
}

/// With what the API proves who it is, and whose certificates it takes.
fn server_tls(scope: &Scope<'_>, names: &Names<'_>) -> Option<ServerFiles> {
    let section = format!("{}.tls", names.section);
    let key = |name: &str| format!("{section}.{name}");
    let cert = tls_file(scope, &key("cert"), Role::Cert);
    let has_cert = cert.as_ref().is_some_and(|given| given.value.is_some());
    let identity = identity(scope, &section, cert, tls_file(scope, &key("key"), Role::Key));
    let client_ca = tls_file(scope, &key("client_ca"), Role::Ca).filter(|given| given.value.is_some());
    if let Some(ca) = client_ca.as_ref().filter(|_| identity.is_none() && !has_cert) {
        let fact = format!("asks clients for certificates, and there is no `{section}.cert` to speak TLS with");
        let remedy = format!("give `{section}.cert` and `{section}.key` too");
        scope.object(ca, &key("client_ca"), Fault { fact, remedy });
    }
    Some(ServerFiles { identity: identity?, client_ca: client_ca.and_then(|given| given.value) })
}

/// Where the API listens. `guarded` is what only the token's holder may ask for.
pub(super) fn http(
    scope: &Scope<'_>,
    names: &Names<'_>,
    usual_port: u16,
    usual_limits: ServerLimits,
    guarded: &str,
) -> HttpConfig {
    let host = scope.either(&names.of("host"), host);
    let port = scope.either(&names.of("port"), integer(0..=u16::MAX));
    let token_file = value(scope.either(&names.of("token_file"), unless_empty(path)), None);
    let tls = server_tls(scope, names);
    let guard = token_file.is_some() || tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if let Some(host) = host.as_ref().filter(|host| !host.value.is_loopback() && !guard) {
        let section = names.section;
        let fact = format!("is {}, which others reach, and nothing guards {guarded} from them", host.value);
        let remedy = format!(
            "set `{section}.token_file` to a file with a token, ask for certificates by `{section}.tls.client_ca`, or listen \
             on `127.0.0.1`"
        );
        scope.object(host, &format!("{section}.host"), Fault { fact, remedy });
    }
    let host = value(host, IpAddr::V4(Ipv4Addr::LOCALHOST));
    HttpConfig { host, port: value(port, usual_port), token_file, tls, limits: limits(scope, names, usual_limits) }
}

fn limits(scope: &Scope<'_>, names: &Names<'_>, usual: ServerLimits) -> ServerLimits {
    let name = |key: &str| format!("{}.limits.{key}", names.section);
    let time = |key: &str, usual| value(scope.get(&name(key), duration(SHORTEST..=HOUR)), usual);
    let count = |key: &str, usual| value(scope.get(&name(key), integer(1..=65_536)), usual);
    ServerLimits {
        // Less than 8 KiB is less than hyper reads at once.
        head_bytes: value(scope.get(&name("head_bytes"), integer(8192..=1 << 20)), usual.head_bytes),
        head_timeout: time("head_timeout", usual.head_timeout),
        body_bytes: value(scope.get(&name("body_bytes"), integer(0..=16 << 20)), usual.body_bytes),
        body_timeout: time("body_timeout", usual.body_timeout),
        write_timeout: time("write_timeout", usual.write_timeout),
        idle_timeout: time("idle_timeout", usual.idle_timeout),
        connections: count("connections", usual.connections),
        connections_per_peer: count("connections_per_peer", usual.connections_per_peer),
        connections_loopback: count("connections_loopback", usual.connections_loopback),
    }
}
