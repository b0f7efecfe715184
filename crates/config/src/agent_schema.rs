//! The agent's keys: their names, their ranges, their defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_client::http_types::Url;

use super::agent::{AgentConfig, Framing, HeartbeatConfig, SocketConfig, StateConfig};
use super::common_schema::{
    FRAMINGS, HOUR, MINUTE, Names, SHORTEST, http, identity as identity_of, log, tls_file, value,
};
use super::places::{Endpoint, endpoint, path};
use super::problem::Place;
use super::reader::{Given, Layer, Scope};
use super::values::{Fault, anything, choice, duration, identity, integer, truth, unless_empty};
use ops_http::server::ServerLimits;
use ops_http::tls::{ClientFiles, Role};

/// Asks for every key. `None` only with a problem.
pub(super) fn read(scope: &Scope<'_>, state_directory: Option<&Path>) -> Option<AgentConfig> {
    // The Go agent's files carry it. It says nothing about this one.
    scope.get("version", anything);
    let agent_id = scope.required("agent_id", "agent-001", identity).map(|given| given.value);
    let heartbeat = heartbeat(scope);
    let http = http(
        scope,
        &Names { section: "http", short: &[("port", "http_port")] },
        8081,
        ServerLimits::default(),
        "`POST /reload`",
    );
    let log = log(scope, &Names { section: "log", short: &[("level", "log_level"), ("file", "log_file")] });
    let file = value(scope.get("state.file", unless_empty(path)), None);
    let refresh = value(scope.get("state.refresh", duration(SHORTEST..=HOUR)), Duration::from_secs(10));
    let strict = value(scope.get("state.strict", truth), false);
    let agent_id = agent_id?;
    let file = file.unwrap_or_else(|| {
        let name = format!("{agent_id}.ron");
        state_directory.map_or_else(|| PathBuf::from("state").join(&name), |directory| directory.join(&name))
    });
    Some(AgentConfig { agent_id, heartbeat, http, log, state: StateConfig { file, refresh, strict } })
}

fn heartbeat(scope: &Scope<'_>) -> Option<HeartbeatConfig> {
    let interval = scope.either(&["heartbeat.interval", "heartbeat_interval"], duration(SHORTEST..=HOUR));
    let timeout = scope.get("heartbeat.timeout", duration(SHORTEST..=MINUTE));
    let failure_threshold = scope.get("heartbeat.failure_threshold", integer(1..=1000));
    let recovery_threshold = scope.get("heartbeat.recovery_threshold", integer(1..=1000));
    let (url, socket) = peer(scope);
    let tls = client_tls(scope, url.as_ref(), socket.is_some());
    let url = url.map(|given| given.value);
    if url.is_none() && socket.is_none() {
        return None;
    }
    Some(HeartbeatConfig {
        url,
        tls,
        socket,
        interval: value(interval, Duration::from_secs(30)),
        timeout: value(timeout, Duration::from_secs(5)),
        failure_threshold: value(failure_threshold, 3),
        recovery_threshold: value(recovery_threshold, 1),
    })
}

/// How the daemon is reached: by HTTP, by a socket, or both.
fn peer(scope: &Scope<'_>) -> (Option<Given<Url>>, Option<SocketConfig>) {
    let framing = scope.get("heartbeat.framing", choice(&FRAMINGS)).map(|given| given.value);
    let url = scope.either(&["heartbeat.url", "heartbeat_url"], unless_empty(endpoint)).and_then(present);
    let short = scope.get("socket_path", unless_empty(path)).and_then(present);
    let of_go = scope.get("heartbeat.socket_path", unless_empty(path)).and_then(present);

    let mut sockets = Vec::new();
    let url = match url {
        Some(Given { value: Endpoint::Http(value), layer, place, subject }) => {
            Some(Given { value, layer, place, subject })
        }
        Some(Given { value: Endpoint::Unix(path), layer, place, subject }) => {
            sockets.push((Given { value: path, layer, place, subject }, "heartbeat.url", Framing::JsonRpc));
            None
        }
        None => None,
    };
    sockets.extend(short.map(|given| (given, "socket_path", Framing::JsonRpc)));
    // A file that was written for the Go agent names no framing, and its daemon reads bare lines.
    sockets.extend(of_go.map(|given| (given, "heartbeat.socket_path", Framing::JsonLines)));
    let strongest = sockets.iter().map(|(given, ..)| given.layer).max().unwrap_or(Layer::File);
    sockets.retain(|(given, ..)| given.layer == strongest);
    if let [first, second, ..] = sockets.as_slice() {
        one_socket(scope, (&first.0, first.1), (&second.0, second.1));
    }
    let socket =
        sockets.pop().map(|(given, _, usual)| SocketConfig { path: given.value, framing: framing.unwrap_or(usual) });
    (url, socket)
}

/// Whom to trust, and what to show, when heartbeats go to an `https` address.
fn client_tls(scope: &Scope<'_>, url: Option<&Given<Url>>, has_socket: bool) -> ClientFiles {
    const SECTION: &str = "heartbeat.tls";
    let ca = tls_file(scope, "heartbeat.tls.ca", Role::Ca);
    let cert = tls_file(scope, "heartbeat.tls.cert", Role::Cert);
    let key = tls_file(scope, "heartbeat.tls.key", Role::Key);
    let secure = url.filter(|url| url.value.scheme() == "https");
    if let Some(url) = secure {
        scope.needs_file(Role::SystemRoots, Path::new(""), "heartbeat.url", url);
    } else if url.is_some() || has_socket {
        // Whoever set it believes that what is sent is hidden from others.
        for (name, given) in [("ca", &ca), ("cert", &cert), ("key", &key)] {
            if let Some(given) = given.as_ref().filter(|given| given.value.is_some()) {
                let fact = "is set, but heartbeats do not go over TLS".to_owned();
                let remedy = "write `heartbeat.url` with `https://`, or remove it".to_owned();
                scope.object(given, &format!("{SECTION}.{name}"), Fault { fact, remedy });
            }
        }
    }
    ClientFiles { ca: ca.and_then(|given| given.value), identity: identity_of(scope, SECTION, cert, key) }
}

fn one_socket(scope: &Scope<'_>, first: (&Given<PathBuf>, &str), second: (&Given<PathBuf>, &str)) {
    match (&first.0.place, &second.0.place) {
        (Place::File(one), Place::File(other)) => scope.conflict((first.1, one.clone()), (second.1, other.clone())),
        _ => {
            let fact = format!("sets the same thing as {}", first.0.subject);
            scope.object(second.0, second.1, Fault { fact, remedy: "keep one of them".to_owned() });
        }
    }
}

/// A given nothing is the same as nothing given.
fn present<T>(given: Given<Option<T>>) -> Option<Given<T>> {
    let Given { value, layer, place, subject } = given;
    value.map(|value| Given { value, layer, place, subject })
}
