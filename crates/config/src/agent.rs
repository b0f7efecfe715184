//! The agent's configuration, after validation.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_client::http_types::Url;

pub use super::accounts::find_group;
use super::settings::Settings;
use ops_http::server::ServerLimits;
use ops_http::tls::{ClientFiles, ServerFiles};
pub use ops_runtime::logging::{LogConfig, LogFormat, LogLevel};

/// The agent's configuration. Only this crate constructs it, so every value is within its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// The ID of the agent.
    pub agent_id: String,
    /// How to reach the daemon. `None`: standalone, no heartbeats are sent.
    pub heartbeat: Option<HeartbeatConfig>,
    /// Where the API listens.
    pub http: HttpConfig,
    /// The log.
    pub log: LogConfig,
    /// The status file.
    pub state: StateConfig,
    /// All values by key, for the comparison at a reload.
    pub(super) settings: Settings,
}

/// Where heartbeats go, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// An `http` or `https` address. If a socket is given too, the address is tried first.
    pub url: Option<Url>,
    /// The TLS files for an `https` address.
    pub tls: ClientFiles,
    /// A Unix socket. Address, socket or both are given.
    pub socket: Option<SocketConfig>,
    /// The time from one heartbeat to the next.
    pub interval: Duration,
    /// The time limit of one attempt, from connect to response.
    pub timeout: Duration,
    /// How many failures in a row raise the fault `heartbeat`.
    pub failure_threshold: u32,
    /// How many successes in a row clear it.
    pub recovery_threshold: u32,
}

impl HeartbeatConfig {
    /// The TLS files, if the address is `https`.
    #[must_use]
    pub fn secure(&self) -> Option<&ClientFiles> {
        self.url.as_ref().filter(|url| url.scheme() == "https").map(|_| &self.tls)
    }
}

/// A daemon's Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketConfig {
    /// Its path.
    pub path: PathBuf,
    /// The protocol on it.
    pub framing: Framing,
}

/// The protocol on a daemon's Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// JSON-RPC 2.0: one request per line, and one response per request.
    JsonRpc,
    /// One bare heartbeat per line, without responses.
    JsonLines,
}

/// The agent's own HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port; 0 takes any free one.
    pub port: u16,
    /// A file with the bearer token that `POST /reload` requires. Needed unless `host` is a loopback
    /// address or clients need a certificate.
    pub token_file: Option<PathBuf>,
    /// The certificate for HTTPS. `None`: plain HTTP.
    pub tls: Option<ServerFiles>,
    /// Limits per peer and in total.
    pub limits: ServerLimits,
}

/// The status file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateConfig {
    /// Its path. JSON if the name ends in `.json`, RON otherwise.
    pub file: PathBuf,
    /// The maximum age of the file's timestamp while the agent runs.
    pub refresh: Duration,
    /// Its permissions.
    pub mode: u32,
    /// The name or the number of its group. `None`: the one that the system gives to a new file.
    pub group: Option<String>,
    /// Whether a state directory that is writable by group or others is an error instead of a warning.
    pub strict: bool,
}
