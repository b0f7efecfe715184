//! The agent's configuration, once it is known to be right.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_client::http_types::Url;

use super::settings::Settings;
use ops_http::server::ServerLimits;
use ops_http::tls::{ClientFiles, ServerFiles};
pub use ops_runtime::logging::{LogConfig, LogFormat, LogLevel};

/// All that the agent is told. Made by [`super`] only, so every value is within its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// Who this is: 1 to 100 of `[A-Za-z0-9_-]`.
    pub agent_id: String,
    /// How the daemon is reached. `None`: standalone, nothing is sent.
    pub heartbeat: Option<HeartbeatConfig>,
    /// Where the API listens.
    pub http: HttpConfig,
    /// What is logged, and where.
    pub log: LogConfig,
    /// The status file.
    pub state: StateConfig,
    /// The same, key by key, for the comparison at a reload.
    pub(super) settings: Settings,
}

/// How and how often the daemon is told that the agent lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// An `http` or `https` address. Tried first where a socket is given too.
    pub url: Option<Url>,
    /// Whom to trust, and what to show, where the address is `https`.
    pub tls: ClientFiles,
    /// A Unix socket. At least one of the two is there.
    pub socket: Option<SocketConfig>,
    /// From one heartbeat to the next: 100 ms to 1 h.
    pub interval: Duration,
    /// What one attempt may take, from connect to answer.
    pub timeout: Duration,
    /// How many failures in a row raise the fault `heartbeat`. At least 1.
    pub failure_threshold: u32,
    /// How many successes in a row clear it. At least 1.
    pub recovery_threshold: u32,
}

impl HeartbeatConfig {
    /// What is needed for TLS, if any is spoken.
    #[must_use]
    pub fn secure(&self) -> Option<&ClientFiles> {
        self.url.as_ref().filter(|url| url.scheme() == "https").map(|_| &self.tls)
    }
}

/// A daemon's Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketConfig {
    /// Where it is.
    pub path: PathBuf,
    /// What is spoken on it.
    pub framing: Framing,
}

/// What is spoken on a daemon's Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// JSON-RPC 2.0, a request a line, each answered in a line.
    JsonRpc,
    /// The bare heartbeat a line, never answered.
    JsonLines,
}

/// The agent's own HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port; 0 takes any free one.
    pub port: u16,
    /// A file with the bearer token that `POST /reload` asks for. Required unless `host` is a
    /// loopback address, or clients prove by a certificate who they are.
    pub token_file: Option<PathBuf>,
    /// The certificate with which it speaks HTTPS. `None`: it speaks plain HTTP.
    pub tls: Option<ServerFiles>,
    /// What one peer, and all of them together, may take.
    pub limits: ServerLimits,
}

/// The status file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateConfig {
    /// Where it is. JSON if the name ends in `.json`, RON otherwise.
    pub file: PathBuf,
    /// The file's timestamp is never older than this while the agent lives.
    pub refresh: Duration,
    /// Whether a state directory that others may write to is an error rather than a warning.
    pub strict: bool,
}
