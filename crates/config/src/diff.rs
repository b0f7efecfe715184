//! A configuration as settings, and what changes from one to another.

use std::fmt;
use std::path::Path;

use super::agent::{AgentConfig, Framing, HeartbeatConfig, HttpConfig, LogConfig, SocketConfig, StateConfig};
use super::common_schema::{FORMATS, FRAMINGS, LEVELS};
use super::values::show_duration;
use ops_http::server::ServerLimits;

/// One setting with its value as a file would give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Such as `http.port`.
    pub key: &'static str,
    /// `None` if it is not set and has no default.
    pub value: Option<String>,
}

/// A setting that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Such as `http.port`.
    pub key: &'static str,
    /// What it was.
    pub old: Option<String>,
    /// What it is to be.
    pub new: Option<String>,
    /// Whether only a restart can make it so.
    pub needs_restart: bool,
}

/// All that changes from one configuration to another. `Display` names it, for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

/// What changes from `old` to `new`.
#[must_use]
pub fn diff(old: &AgentConfig, new: &AgentConfig) -> Changes {
    let pairs = settings(old).into_iter().zip(settings(new)).filter(|(old, new)| old != new);
    let change = |(old, new): (Setting, Setting)| {
        let key = old.key;
        let needs_restart = matches!(key, "agent_id" | "state.file") || key.starts_with("http.");
        Change { key, old: old.value, new: new.value, needs_restart }
    };
    Changes(pairs.map(change).collect())
}

impl Changes {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each change.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Change> {
        self.0.iter()
    }

    /// Why a reload cannot do it, if it cannot: which changes need a restart.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let restart: Vec<String> =
            self.0.iter().filter(|change| change.needs_restart).map(ToString::to_string).collect();
        let keys = if restart.len() == 1 { "this change needs" } else { "these changes need" };
        let fact = format!("{keys} a restart, so nothing was changed: {}", restart.join(", "));
        (!restart.is_empty()).then(|| format!("{fact}; restart the agent, or take them back"))
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(if changes.is_empty() { "nothing changed" } else { "" })?;
        f.write_str(&changes.join(", "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        write!(f, "{}: {} -> {}", self.key, show(&self.old), show(&self.new))
    }
}

/// Every setting of a configuration, always in the same order: written to a file, they make the same configuration.
#[must_use]
pub fn settings(config: &AgentConfig) -> Vec<Setting> {
    // Taken apart to the last field, so that a new one cannot be forgotten here.
    let AgentConfig { agent_id, heartbeat, http, log, state } = config;
    let HttpConfig { host, port, token_file, tls, limits } = http;
    let LogConfig { level, format, file: log_file } = log;
    let StateConfig { file, refresh, strict } = state;
    let set = |key, value: String| Setting { key, value: Some(value) };
    let mut settings = vec![set("agent_id", agent_id.clone())];
    settings.extend(heartbeat_settings(heartbeat.as_ref()));
    settings.extend([
        set("http.host", host.to_string()),
        set("http.port", port.to_string()),
        Setting { key: "http.token_file", value: shown(token_file.as_deref()) },
        Setting { key: "http.tls.cert", value: shown(tls.as_ref().map(|tls| tls.identity.cert.as_path())) },
        Setting { key: "http.tls.key", value: shown(tls.as_ref().map(|tls| tls.identity.key.as_path())) },
        Setting { key: "http.tls.client_ca", value: shown(tls.as_ref().and_then(|tls| tls.client_ca.as_deref())) },
    ]);
    settings.extend(limit_settings(limits));
    settings.extend([
        set("log.level", word(&LEVELS, level)),
        set("log.format", word(&FORMATS, format)),
        Setting { key: "log.file", value: shown(log_file.as_deref()) },
        set("state.file", file.display().to_string()),
        set("state.refresh", show_duration(*refresh)),
        set("state.strict", strict.to_string()),
    ]);
    settings
}

fn heartbeat_settings(heartbeat: Option<&HeartbeatConfig>) -> [Setting; 10] {
    let set = |key, value: fn(&HeartbeatConfig) -> Option<String>| Setting { key, value: heartbeat.and_then(value) };
    let socket = |value: fn(&SocketConfig) -> String| heartbeat.and_then(|it| it.socket.as_ref()).map(value);
    [
        set("heartbeat.url", |it| it.url.as_ref().map(ToString::to_string)),
        set("heartbeat.tls.ca", |it| shown(it.tls.ca.as_deref())),
        set("heartbeat.tls.cert", |it| shown(it.tls.identity.as_ref().map(|identity| identity.cert.as_path()))),
        set("heartbeat.tls.key", |it| shown(it.tls.identity.as_ref().map(|identity| identity.key.as_path()))),
        Setting { key: "heartbeat.socket_path", value: socket(|it| it.path.display().to_string()) },
        Setting { key: "heartbeat.framing", value: socket(|it| word::<Framing>(&FRAMINGS, &it.framing)) },
        set("heartbeat.interval", |it| Some(show_duration(it.interval))),
        set("heartbeat.timeout", |it| Some(show_duration(it.timeout))),
        set("heartbeat.failure_threshold", |it| Some(it.failure_threshold.to_string())),
        set("heartbeat.recovery_threshold", |it| Some(it.recovery_threshold.to_string())),
    ]
}

fn limit_settings(limits: &ServerLimits) -> [Setting; 9] {
    let ServerLimits { head_bytes, head_timeout, body_bytes, body_timeout, write_timeout, idle_timeout, .. } = limits;
    let ServerLimits { connections, connections_per_peer, connections_loopback, .. } = limits;
    let set = |key, value: String| Setting { key, value: Some(value) };
    [
        set("http.limits.head_bytes", head_bytes.to_string()),
        set("http.limits.head_timeout", show_duration(*head_timeout)),
        set("http.limits.body_bytes", body_bytes.to_string()),
        set("http.limits.body_timeout", show_duration(*body_timeout)),
        set("http.limits.write_timeout", show_duration(*write_timeout)),
        set("http.limits.idle_timeout", show_duration(*idle_timeout)),
        set("http.limits.connections", connections.to_string()),
        set("http.limits.connections_per_peer", connections_per_peer.to_string()),
        set("http.limits.connections_loopback", connections_loopback.to_string()),
    ]
}

fn shown(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> String {
    words.iter().find(|(_, known)| known == value).map_or_else(String::new, |(word, _)| (*word).to_owned())
}
