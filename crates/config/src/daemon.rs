//! The daemon's configuration, once it is known to be right.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_client::http_types::Url;
use statemachine::supervision::Policy;

use super::agent::{HttpConfig, LogConfig};
use super::settings::Settings;
use ops_http::tls::ClientFiles;

/// All that the daemon is told. Made by [`super`] only, so every value is within its range.
/// Relative paths are as they were given.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonConfig {
    /// Where the registry and the agents' directories are.
    pub work_dir: PathBuf,
    /// The Unix socket for heartbeats and control.
    pub socket_path: PathBuf,
    /// Where the API listens.
    pub http: HttpConfig,
    /// What is logged, and where.
    pub log: LogConfig,
    /// Who is supervised, in the order of the file, each id once.
    pub agents: Vec<AgentSpec>,
    /// The daemon's own settings, key by key, for the comparison at a reload.
    pub(super) settings: Settings,
}

/// One supervised program.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSpec {
    /// Who this is: 1 to 100 of `[A-Za-z0-9_-]`.
    pub id: String,
    /// Which program it is.
    pub kind: AgentKind,
    /// What people call it. Default: its id.
    pub name: String,
    /// The program, from the root.
    pub binary_path: PathBuf,
    /// The program's own configuration.
    pub(super) config_file: Option<PathBuf>,
    /// What it is started with instead of what its kind is usually started with.
    pub args: Option<Vec<String>>,
    /// Its current directory, where its logs go too.
    pub work_dir: PathBuf,
    /// Whether it is to run.
    pub enabled: bool,
    /// How its health is told.
    pub health_check: HealthCheck,
    /// Whom to trust, and what to show, where `health_check.http_endpoint` is an `https` address.
    /// Apart from the check, since what it needs says nothing about the agent's process.
    pub(super) http_tls: ClientFiles,
    /// Whether and when it is started again.
    pub restart: Policy,
    /// What differs from the defaults, key by key, for the comparison at a reload.
    pub(super) settings: Settings,
}

/// A program that the daemon knows how to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentKind {
    /// Any, this project's agent among them.
    Custom,
    /// Elastic's log shipper.
    Filebeat,
    /// InfluxData's metrics collector.
    Telegraf,
    /// Prometheus' host metrics.
    NodeExporter,
}

/// How an agent's health is told.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// From one look to the next.
    pub interval: Duration,
    /// The longest silence. `None`: this agent sends no heartbeats.
    pub heartbeat_timeout: Option<Duration>,
    /// What is asked by GET.
    pub http_endpoint: Option<Url>,
    /// The status file whose timestamp is looked at.
    pub state_file: Option<PathBuf>,
    /// The oldest it may be.
    pub state_max_age: Duration,
    /// The most CPU, in percent of the machine. `None`: any.
    pub cpu_threshold: Option<f64>,
    /// The most resident memory, in bytes. `None`: any.
    pub memory_threshold: Option<u64>,
    /// For how long it may use more than that.
    pub threshold_duration: Duration,
    /// How long after a start nothing is held against the agent but its own end.
    pub start_grace: Duration,
}

impl AgentSpec {
    /// What is needed for TLS, if any is spoken.
    #[must_use]
    pub fn secure(&self) -> Option<&ClientFiles> {
        self.health_check.http_endpoint.as_ref().filter(|url| url.scheme() == "https").map(|_| &self.http_tls)
    }

    /// What the program is started with. `base` is the daemon's working directory: the agent has
    /// another one, in which a relative path would mean another file.
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
                let home = ["-path.home".into(), base.join(&self.work_dir).into_os_string()];
                config("-c").into_iter().chain(home).collect()
            }
            AgentKind::NodeExporter => {
                ["--web.listen-address=:9100", "--path.procfs=/proc", "--path.sysfs=/sys"].map(OsString::from).to_vec()
            }
        }
    }
}
