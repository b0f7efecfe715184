//! The agent's keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_client::http_types::Url;
use ops_http::server::ServerLimits;
use ops_http::tls::{ClientFiles, Role};

use super::agent::{AgentConfig, Framing, HeartbeatConfig, SocketConfig, StateConfig};
use super::common_schema::{Common, ShortForms, Unprotected, identity as identity_of, tls_file};
use super::file_mode::FileMode;
use super::host_checks::PathUse;
use super::key::Reload::{Live, Restart};
use super::key::key;
use super::numbers::{Time, Whole};
use super::paths::{FilePath, HeartbeatAddress, HeartbeatTarget, PemFile};
use super::problem::Location;
use super::process_values::AccountName;
use super::raw::ValueError;
use super::reader::{Layer, Sourced};
use super::scope::Scope;
use super::values::{AgentIdentifier, AnyScalar, Boolean, Choice, HOUR, MINUTE, OrEmpty, SHORTEST, ValueType as _};

const FRAMINGS: Choice<Framing> = Choice(&[("jsonrpc", Framing::JsonRpc), ("jsonlines", Framing::JsonLines)]);

/// Reads all keys. `None`: at least one problem was reported.
pub(super) fn read(file: &Scope<'_>, state_directory: Option<&Path>) -> Option<AgentConfig> {
    let common = Common {
        log_reload: Live,
        port: 8081,
        limits: ServerLimits::of_agent(),
        unprotected: Unprotected::Warning,
        short: ShortForms { log_level: "log_level", log_file: "log_file", http_port: "http_port" },
    };
    let id = key("agent_id", AgentIdentifier, Restart, "The ID of this agent.");
    let agent_id = file.required(&id, "agent-001").map(|given| given.value);
    let heartbeat = heartbeat(file);
    let http = common.http(file);
    let log = common.log(file);
    let state = state(file, agent_id.as_deref().unwrap_or_default(), state_directory);
    file.legacy(&key("version", AnyScalar, Live, "A key of the Go agent. This agent ignores it."));
    Some(AgentConfig { agent_id: agent_id?, heartbeat, http, log, state, settings: file.take_settings() })
}

fn state(file: &Scope<'_>, agent_id: &str, state_directory: Option<&Path>) -> StateConfig {
    let state = file.section("state", "The status file.");
    let path = key(
        "file",
        OrEmpty(FilePath),
        Restart,
        "The status file: RON, or JSON if the name ends in `.json`. A relative path starts at the working directory.",
    );
    let shown =
        ("`state/AGENT_ID.ron`, or `AGENT_ID.ron` in the service manager's `$STATE_DIRECTORY`", "state/agent-001.ron");
    let default = state_directory.unwrap_or(Path::new("state")).join(format!("{agent_id}.ron"));
    // An empty path counts as absent.
    let path = state.computed(&path, shown, || Some(default.clone()));
    let path = path.unwrap_or_else(|| {
        state.effective("file", Some(default.display().to_string()));
        default
    });
    let (mode, group) = access(&state, &path);
    StateConfig {
        file: path,
        mode,
        group,
        refresh: state.value(
            &key(
                "refresh",
                Time(SHORTEST, HOUR),
                Live,
                "The maximum age of the file's timestamp while the agent runs.",
            ),
            Duration::from_secs(10),
        ),
        strict: state.value(
            &key(
                "strict",
                Boolean,
                Live,
                "Whether a state directory that is writable by group or others is an error instead of a warning.",
            ),
            false,
        ),
    }
}

/// Who may read the status file.
fn access(state: &Scope<'_>, path: &Path) -> (u32, Option<String>) {
    let mode = key(
        "mode",
        FileMode,
        Live,
        "The permissions of the status file, in octal digits. With `0640`, the members of its group may read it.",
    );
    let group = key(
        "group",
        OrEmpty(AccountName),
        Live,
        "The group of the status file, by name or number. The user of this agent must be a member, or root. Empty: the group of the user.",
    );
    let (mode, group) = (state.sourced(&mode, 0o600), state.sourced(&group, None));
    if mode.value & 0o044 != 0 {
        state.uses_path(PathUse::SharedFile(path.to_owned()), "mode", &mode);
    }
    if let Some(name) = &group.value {
        state.uses_path(PathUse::Group(name.clone()), "group", &group);
    }
    (mode.value, group.value)
}

fn heartbeat(file: &Scope<'_>) -> Option<HeartbeatConfig> {
    let section = file.section(
        "heartbeat",
        "Heartbeats to a daemon. Without `url` and `socket_path` the agent is standalone. With both, HTTP is tried first.",
    );
    let (url, socket) = peer(file, &section);
    let interval = key("interval", Time(SHORTEST, HOUR), Live, "The time from one heartbeat to the next.");
    let timeout =
        key("timeout", Time(SHORTEST, MINUTE), Live, "The time limit of one attempt, from connect to response.");
    let failures =
        key("failure_threshold", Whole(1, 1000), Live, "How many failures in a row raise the fault `heartbeat`.");
    let successes =
        key("recovery_threshold", Whole(1, 1000), Live, "How many successes in a row clear the fault `heartbeat`.");
    let interval = section.value(&interval.short("heartbeat_interval"), Duration::from_secs(30));
    let timeout = section.value(&timeout, Duration::from_secs(5));
    let failure_threshold = section.value(&failures, 3);
    let recovery_threshold = section.value(&successes, 1);
    let tls = client_tls(&section, url.as_ref(), socket.is_some());
    let url = url.map(|given| given.value);
    if url.is_none() && socket.is_none() {
        return None;
    }
    Some(HeartbeatConfig { url, tls, socket, interval, timeout, failure_threshold, recovery_threshold })
}

/// The address and the socket of the daemon.
fn peer(file: &Scope<'_>, section: &Scope<'_>) -> (Option<Sourced<Url>>, Option<SocketConfig>) {
    const SOCKET: OrEmpty<FilePath> = OrEmpty(FilePath);
    let url =
        key("url", OrEmpty(HeartbeatAddress), Live, "The daemon's address. `unix://` is a Unix socket with JSON-RPC.");
    let url =
        section.optional(&url.short("heartbeat_url"), "http://127.0.0.1:8080/heartbeat").and_then(Sourced::transpose);
    let go_socket = key(
        "socket_path",
        SOCKET,
        Live,
        "The daemon's Unix socket. The default of `framing` is `jsonlines` for it, as for the Go daemon.",
    );
    let go_socket = section.optional(&go_socket, "/run/ops-agent/daemon.sock").and_then(Sourced::transpose);
    let framing = key(
        "framing",
        FRAMINGS,
        Live,
        "The protocol on the Unix socket. Default: `jsonlines` for `socket_path`, `jsonrpc` for a `unix://` address.",
    );
    let framing = section.optional(&framing, "jsonrpc").map(|given| given.value);
    let short = key("socket_path", SOCKET, Live, "Short form of `heartbeat.url: unix://PATH`.");
    let short = file.legacy(&short).and_then(Sourced::transpose);

    let mut sockets = Vec::new();
    let unix = url.clone().and_then(|given| given.map(HeartbeatTarget::unix).transpose());
    let url = url.and_then(|given| given.map(HeartbeatTarget::http).transpose());
    if let Some(given) = unix {
        section.effective("url", None);
        sockets.push((given, "heartbeat.url", Framing::JsonRpc));
    }
    sockets.extend(short.map(|given| (given, "socket_path", Framing::JsonRpc)));
    // A file for the Go agent sets no framing, and the Go daemon reads bare lines.
    sockets.extend(go_socket.map(|given| (given, "heartbeat.socket_path", Framing::JsonLines)));
    let highest = sockets.iter().map(|(given, ..)| given.layer).max().unwrap_or(Layer::Default);
    sockets.retain(|(given, ..)| given.layer == highest);
    if let [first, second, ..] = sockets.as_slice() {
        one_socket(file, (&first.0, first.1), (&second.0, second.1));
    }
    let socket = sockets.pop().map(|(given, key, default)| {
        file.uses_path(PathUse::Socket(given.value.clone()), key, &given);
        SocketConfig { path: given.value, framing: framing.unwrap_or(default) }
    });
    // Several keys can name the socket, so a reload compares the socket itself.
    section.effective("socket_path", socket.as_ref().map(|socket| socket.path.display().to_string()));
    section.effective("framing", socket.as_ref().and_then(|socket| FRAMINGS.show(&socket.framing)));
    (url, socket)
}

/// The TLS files for heartbeats to an `https` address.
fn client_tls(section: &Scope<'_>, url: Option<&Sourced<Url>>, has_socket: bool) -> ClientFiles {
    const PEM: OrEmpty<PemFile> = OrEmpty(PemFile);
    let tls = section.section("tls", "TLS for an `https` address. The files are read again at each reload.");
    let ca = key("ca", PEM, Live, "The CA that signed the daemon's certificate. Default: the system's CAs.");
    let ca = tls_file(&tls, Role::Ca, &ca, "/etc/ops-agent/ca.pem");
    let cert = key("cert", PEM, Live, "This agent's certificate chain, for a daemon that requires one.");
    let cert = tls_file(&tls, Role::Cert, &cert, "/etc/ops-agent/agent.pem");
    let secret = key("key", PEM, Live, "The private key of `cert`.");
    let secret = tls_file(&tls, Role::Key, &secret, "/etc/ops-agent/agent.key");
    let secure = url.filter(|url| url.value.scheme() == "https");
    if let Some(url) = secure {
        section.needs_file(Role::SystemRoots, Path::new(""), "url", url);
    } else if url.is_some() || has_socket {
        // Without this error, the user would assume that heartbeats are encrypted.
        for (name, given) in [("ca", &ca), ("cert", &cert), ("key", &secret)] {
            if let Some(given) = given.as_ref().filter(|given| given.value.is_some()) {
                let fact = "is set, but heartbeats do not use TLS".to_owned();
                let remedy = "begin `heartbeat.url` with `https://`, or remove this key".to_owned();
                tls.report(given, name, ValueError { fact, remedy });
            }
        }
    }
    ClientFiles { ca: ca.and_then(|given| given.value), identity: identity_of(&tls, cert, secret) }
}

fn one_socket(file: &Scope<'_>, first: (&Sourced<PathBuf>, &str), second: (&Sourced<PathBuf>, &str)) {
    match (&first.0.location, &second.0.location) {
        (Location::File(one), Location::File(other)) => {
            file.reader.conflict((first.1, one.clone()), (second.1, other.clone()))
        }
        _ => {
            let fact = format!("sets the same value as {}", first.0.subject);
            file.report(second.0, second.1, ValueError { fact, remedy: "keep one of them".to_owned() });
        }
    }
}
