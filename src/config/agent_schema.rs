//! The agent's keys: their names, their ranges, their defaults.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::agent::{
    AgentConfig, Framing, HeartbeatConfig, HttpConfig, LogConfig, LogFormat, LogLevel, SocketConfig, StateConfig,
};
use super::problem::Place;
use super::reader::{Given, Layer, Scope};
use super::values::{
    Endpoint, Fault, anything, choice, duration, endpoint, host, identity, integer, path, truth, unless_empty,
};
use crate::net::server::Limits;

/// The shortest and the longest time that makes sense for a deadline or a cadence.
const SHORTEST: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The levels and their names.
pub(super) const LEVELS: [(&str, LogLevel); 4] =
    [("debug", LogLevel::Debug), ("info", LogLevel::Info), ("warn", LogLevel::Warn), ("error", LogLevel::Error)];
/// The formats and their names.
pub(super) const FORMATS: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("text", LogFormat::Text)];
/// The framings and their names.
pub(super) const FRAMINGS: [(&str, Framing); 2] = [("jsonrpc", Framing::JsonRpc), ("jsonlines", Framing::JsonLines)];

/// Asks for every key. `None` only with a problem.
pub(super) fn read(scope: &Scope<'_>, state_directory: Option<&Path>) -> Option<AgentConfig> {
    // The Go agent's files carry it. It says nothing about this one.
    scope.get("version", anything);
    let agent_id = scope.required("agent_id", "agent-001", identity).map(|given| given.value);
    let heartbeat = heartbeat(scope);
    let http = http(scope);
    let log = LogConfig {
        level: value(scope.either(&["log.level", "log_level"], choice(&LEVELS)), LogLevel::Info),
        format: value(scope.get("log.format", choice(&FORMATS)), LogFormat::Json),
        file: value(scope.either(&["log.file", "log_file"], unless_empty(path)), None),
    };
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

fn value<T>(given: Option<Given<T>>, default: T) -> T {
    given.map_or(default, |given| given.value)
}

fn heartbeat(scope: &Scope<'_>) -> Option<HeartbeatConfig> {
    let interval = scope.either(&["heartbeat.interval", "heartbeat_interval"], duration(SHORTEST..=HOUR));
    let timeout = scope.get("heartbeat.timeout", duration(SHORTEST..=MINUTE));
    let failure_threshold = scope.get("heartbeat.failure_threshold", integer(1..=1000));
    let recovery_threshold = scope.get("heartbeat.recovery_threshold", integer(1..=1000));
    let (url, socket) = peer(scope);
    if url.is_none() && socket.is_none() {
        return None;
    }
    Some(HeartbeatConfig {
        url,
        socket,
        interval: value(interval, Duration::from_secs(30)),
        timeout: value(timeout, Duration::from_secs(5)),
        failure_threshold: value(failure_threshold, 3),
        recovery_threshold: value(recovery_threshold, 1),
    })
}

/// How the daemon is reached: by HTTP, by a socket, or both.
fn peer(scope: &Scope<'_>) -> (Option<http_client::http_types::Url>, Option<SocketConfig>) {
    let framing = scope.get("heartbeat.framing", choice(&FRAMINGS)).map(|given| given.value);
    let url = scope.either(&["heartbeat.url", "heartbeat_url"], unless_empty(endpoint)).and_then(present);
    let short = scope.get("socket_path", unless_empty(path)).and_then(present);
    let of_go = scope.get("heartbeat.socket_path", unless_empty(path)).and_then(present);

    let mut sockets = Vec::new();
    let url = match url {
        Some(Given { value: Endpoint::Http(url), .. }) => Some(url),
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

fn http(scope: &Scope<'_>) -> HttpConfig {
    let host = scope.get("http.host", host);
    let port = scope.either(&["http.port", "http_port"], integer(0..=u16::MAX));
    let token_file = value(scope.get("http.token_file", unless_empty(path)), None);
    if let Some(host) = host.as_ref().filter(|host| !host.value.is_loopback() && token_file.is_none()) {
        let fact = format!("is {}, which others reach, and nothing guards `POST /reload` from them", host.value);
        let remedy = "set `http.token_file` to a file with a token, or listen on `127.0.0.1`".to_owned();
        scope.object(host, "http.host", Fault { fact, remedy });
    }
    let host = value(host, IpAddr::V4(Ipv4Addr::LOCALHOST));
    HttpConfig { host, port: value(port, 8081), token_file, limits: limits(scope) }
}

fn limits(scope: &Scope<'_>) -> Limits {
    let usual = Limits::default();
    let time = |key: &str, usual| value(scope.get(key, duration(SHORTEST..=HOUR)), usual);
    let count = |key: &str, usual| value(scope.get(key, integer(1..=65_536)), usual);
    Limits {
        // Less than 8 KiB is less than hyper reads at once.
        head_bytes: value(scope.get("http.limits.head_bytes", integer(8192..=1 << 20)), usual.head_bytes),
        head_timeout: time("http.limits.head_timeout", usual.head_timeout),
        body_bytes: value(scope.get("http.limits.body_bytes", integer(0..=16 << 20)), usual.body_bytes),
        body_timeout: time("http.limits.body_timeout", usual.body_timeout),
        write_timeout: time("http.limits.write_timeout", usual.write_timeout),
        idle_timeout: time("http.limits.idle_timeout", usual.idle_timeout),
        connections: count("http.limits.connections", usual.connections),
        connections_per_peer: count("http.limits.connections_per_peer", usual.connections_per_peer),
        connections_loopback: count("http.limits.connections_loopback", usual.connections_loopback),
    }
}
