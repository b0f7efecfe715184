//! The daemon's configuration, after validation.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_client::http_types::Url;
use statemachine::supervision::Policy;

pub use super::accounts::{find_group, find_user};
use super::agent::{HttpConfig, LogConfig};
pub use super::command::Command;
pub use super::env_file::EnvFileError;
pub use super::hooks::{HookEvent, HookSpec, HookTarget, WebhookUrl};
pub use super::process::{EnvFile, LimitedResource, ProcessAttributes, ProcessSettings, RESERVED_VARIABLES, Variables};
use super::settings::Settings;
use super::sizes::MIB;
pub use super::tcp_address::TcpAddress;
use ops_http::tls::ClientFiles;

/// The daemon's configuration. Only this crate constructs it, so every value is within its range.
/// Relative paths are not resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonConfig {
    /// The directory of the registry and of the agents' directories.
    pub work_dir: PathBuf,
    /// The Unix socket for heartbeats and control.
    pub socket_path: PathBuf,
    /// How many programs are started at the same time.
    pub start_limit: usize,
    /// Where the API listens.
    pub http: HttpConfig,
    /// The names that a browser may use for the daemon in `Host`, besides addresses, `localhost` and the host's name.
    pub http_names: Vec<String>,
    /// The host of all targets in `/sd`. An IPv6 address is in brackets. `None`: that of each address.
    pub sd_address: Option<String>,
    /// The log.
    pub log: LogConfig,
    /// The supervised programs, in the order of the file. Their IDs are unique.
    pub agents: Vec<AgentSpec>,
    /// What is told of their troubles.
    pub hooks: Vec<HookSpec>,
    /// The daemon's own settings, key by key, for the comparison at a reload.
    pub(super) settings: Settings,
}

/// One supervised program.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSpec {
    /// The ID of the agent.
    pub id: String,
    /// The kind of program.
    pub kind: AgentKind,
    /// The display name.
    pub name: String,
    /// Its labels, for people and for Prometheus.
    pub labels: BTreeMap<String, String>,
    /// Where it exposes metrics.
    pub metrics_endpoint: Option<Url>,
    /// The absolute path of the program.
    pub binary_path: PathBuf,
    /// The configuration file of the program.
    pub(super) config_file: Option<PathBuf>,
    /// Arguments that replace the default arguments of its kind.
    pub args: Option<Vec<String>>,
    /// Its working directory, which also contains its output.
    pub work_dir: PathBuf,
    /// Whether it is started.
    pub enabled: bool,
    /// The IDs of the agents that have to be Running before it is started. They exist, and do not depend on it.
    pub depends_on: Vec<String>,
    /// The settings of its process.
    pub process: ProcessSettings,
    /// A socket for its heartbeats alone. `None`: it has none, or that of the daemon.
    pub socket_path: Option<PathBuf>,
    /// How much of its output is kept.
    pub log: LogRotation,
    /// What ends its start. `None`: that all checks pass.
    pub readiness: Option<Readiness>,
    /// How its health is judged.
    pub health_check: HealthCheck,
    /// The TLS files of the HTTP check, if its address is `https`.
    pub(super) http_tls: ClientFiles,
    /// Whether and when it is restarted.
    pub restart: Policy,
    /// What differs from the defaults, key by key, for the comparison at a reload.
    pub(super) settings: Settings,
}

/// How much output of an agent is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRotation {
    /// The size, in bytes, above which a log is rotated. No copy is larger: of a log that grew faster, the end is kept.
    pub max_bytes: u64,
    /// The number of copies. `agent.log.1` is the newest. 0: the log is emptied instead.
    pub copies: u32,
}

impl Default for LogRotation {
    /// At most 40 MiB for each agent: the log and three copies of 10 MiB.
    fn default() -> Self {
        Self { max_bytes: 10 * MIB, copies: 3 }
    }
}

/// The kind of a program. It decides the default arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentKind {
    /// Any program, such as the agent of this project.
    Custom,
    /// Elastic's log shipper.
    Filebeat,
    /// InfluxData's metrics collector.
    Telegraf,
    /// Prometheus' host metrics.
    NodeExporter,
}

impl AgentKind {
    /// Its word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Filebeat => "filebeat",
            Self::Telegraf => "telegraf",
            Self::NodeExporter => "node_exporter",
        }
    }
}

/// How the health of an agent is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// The time from one round of checks to the next.
    pub interval: Duration,
    /// The longest time without a heartbeat. `None`: this agent sends none.
    pub heartbeat_timeout: Option<Duration>,
    /// Whether only proved heartbeats count.
    pub heartbeat_proof: HeartbeatProof,
    /// The address of the HTTP check.
    pub http_endpoint: Option<Url>,
    /// The address of the TCP check.
    pub tcp: Option<TcpAddress>,
    /// The program of a check.
    pub exec: Option<Command>,
    /// The time limit of a check of a service.
    pub http_timeout: Duration,
    /// The number of failures in a row from which on such a check is bad.
    pub http_failures: u32,
    /// The status file, for the check of its timestamp.
    pub state_file: Option<PathBuf>,
    /// The maximum age of the timestamp.
    pub state_max_age: Duration,
    /// The CPU limit, in percent of the machine. `None`: no limit.
    pub cpu_threshold: Option<f64>,
    /// The limit of resident memory, in bytes. `None`: no limit.
    pub memory_threshold: Option<u64>,
    /// The limit of open files. `None`: no limit.
    pub open_files_threshold: Option<u64>,
    /// How long the agent may exceed a threshold.
    pub threshold_duration: Duration,
    /// The time after a start in which only the process itself is checked.
    pub start_grace: Duration,
}

/// The socket of an agent for notifications, in the daemon's work directory.
#[must_use]
pub fn notify_socket(work_dir: &Path, id: &str) -> PathBuf {
    work_dir.join("notify").join(format!("{id}.sock"))
}

/// What ends the start of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// What has to happen.
    pub by: ReadyBy,
    /// How long that may take.
    pub timeout: Duration,
}

/// How an agent shows that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyBy {
    /// Its HTTP check passes.
    Http,
    /// It sends `READY=1` to the socket in `NOTIFY_SOCKET`.
    Notify,
}

/// Which heartbeats count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatProof {
    /// Until a start has proved itself, also those of a local process that names a process of the agent.
    Preferred,
    /// Only those with the secret of the start, or from a process of the agent over a Unix socket.
    Required,
}

impl AgentSpec {
    /// The TLS files of the HTTP check, if its address is `https`.
    #[must_use]
    pub fn secure(&self) -> Option<&ClientFiles> {
        self.health_check.http_endpoint.as_ref().filter(|url| url.scheme() == "https").map(|_| &self.http_tls)
    }

    /// The arguments of the program. `base` is the daemon's working directory. The agent has another
    /// one, so relative paths are made absolute.
    #[must_use]
    pub fn arguments(&self, base: &Path) -> Vec<OsString> {
        if let Some(args) = &self.args {
            return args.iter().map(OsString::from).collect();
        }
        let config = |flag: &str| {
            let file = self.config_file.as_ref().map(|file| base.join(file).into_os_string());
            file.map_or_else(Vec::new, |file| vec![flag.into(), file])
        };
        match self.kind {
            AgentKind::Custom | AgentKind::Telegraf => config("-config"),
            AgentKind::Filebeat => {
                let path_home = ["-path.home".into(), base.join(&self.work_dir).into_os_string()];
                config("-c").into_iter().chain(path_home).collect()
            }
            AgentKind::NodeExporter => {
                ["--web.listen-address=:9100", "--path.procfs=/proc", "--path.sysfs=/sys"].map(OsString::from).to_vec()
            }
        }
    }
}
