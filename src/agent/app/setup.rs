//! What blocks on the way up: configuration, log file, lock, status file, token. It runs on the pool, since a disk may hang, so
//! that a signal is heard meanwhile.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigSource;
use super::listening::Listening;
use crate::agent::status_file::{Found, OpenError, StatusWriter};
use ops_config::agent::AgentConfig;
use ops_config::{Loaded, Problems};
use ops_http::tls::Material;
use ops_runtime::logging;

/// Why the agent did not come up. Said before the loop runs, so nobody else can have said it.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong.
    Config(Problems),
    /// Logging cannot begin.
    Log(logging::LogError),
    /// The status file cannot be had.
    StatusFile(OpenError),
    /// The counters cannot be set up.
    AgentMetrics(prometheus::Error),
    /// There is no thread to be had.
    Thread(std::io::Error),
    /// Some disk does not answer.
    TooSlow(std::time::Duration),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => write!(f, "{problems}"),
            Self::Log(error) => write!(f, "{error}"),
            Self::StatusFile(error) => write!(f, "{error}"),
            Self::AgentMetrics(_) => write!(f, "the metrics cannot be set up"),
            Self::Thread(_) => write!(f, "no thread can be started: raise the limit on processes"),
            Self::TooSlow(limit) => {
                write!(f, "configuration, log or status file could not be opened within {limit:?}: see their disks")
            }
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(_) | Self::TooSlow(_) => None,
            Self::Log(error) => error.source(),
            Self::StatusFile(error) => error.source(),
            Self::AgentMetrics(error) => Some(error),
            Self::Thread(error) => Some(error),
        }
    }
}

/// All that the loop is built from. The lock is held, so from here on the status file says how it goes.
pub(super) struct Setup {
    pub(super) config: AgentConfig,
    pub(super) source: ConfigSource,
    pub(super) writer: StatusWriter,
    pub(super) found: Found,
    /// The API's listener, or why there is none.
    pub(super) api: Result<Listening, String>,
    /// What the files for TLS say.
    pub(super) tls: Material,
}

impl Setup {
    /// Sets everything up, and blocks as long as the disks like.
    pub(super) fn begin(source: ConfigSource) -> Result<Self, StartError> {
        let Loaded { config, file, notes, tls, .. } = source.load().map_err(StartError::Config)?;
        // A reload reads the same file again, even if one of higher rank has appeared meanwhile.
        let source = ConfigSource { file, ..source };
        logging::start(&config.log, ("agent_id", &config.agent_id)).map_err(StartError::Log)?;
        let (writer, found) = StatusWriter::open(&config.state.file, config.state.strict).map_err(|error| {
            tracing::error!(%error, "not started");
            StartError::StatusFile(error)
        })?;
        for note in notes.iter().chain(&found.notes) {
            tracing::warn!("{note}");
        }
        log_start(&config, &source, &writer, &found);
        let api = Listening::begin(&config, &tls);
        Ok(Self { config, source, writer, found, api, tls })
    }
}

/// Says once what is in force, with absolute paths: relative ones depend on who started the process.
fn log_start(config: &AgentConfig, source: &ConfigSource, writer: &StatusWriter, found: &Found) {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    let previous = found.previous.map(|previous| previous.ended.as_str());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        incarnation = found.incarnation,
        previous,
        config = source.file.as_deref().map_or_else(|| "(embedded)".to_owned(), |file| absolute(file).display().to_string()),
        status_file = %writer.path().display(),
        log = logging::destination(config.log.file.as_deref().map(absolute).as_deref()),
        heartbeat = if config.heartbeat.is_some() { "on" } else { "standalone" },
        "starting"
    );
}
