//! The blocking part of the start: configuration, log, lock, status file, listener. It runs on a blocking thread, so the agent
//! reacts to signals even if a disk hangs.

use super::ConfigSource;
use super::listening::{ListenError, Listening};
use crate::agent::status_file::{Found, OpenError, StatusWriter, access};
use crate::agent::version;
use ops_config::agent::AgentConfig;
use ops_config::{Loaded, Problems};
use ops_http::Token;
use ops_http::tls::Material;
use ops_runtime::logging;
use ops_runtime::paths::absolute;

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Problems),
    /// Logging cannot be started.
    #[error(transparent)]
    Log(logging::LogError),
    /// The status file cannot be used.
    #[error(transparent)]
    StatusFile(OpenError),
    /// The metrics cannot be set up.
    #[error("the metrics cannot be set up")]
    Metrics(#[source] prometheus::Error),
    /// No thread can be started.
    #[error("no thread can be started: raise the limit on processes")]
    Thread(#[source] std::io::Error),
    /// The simulation cannot begin.
    #[cfg(feature = "simulate")]
    #[error("the simulation cannot begin")]
    Simulation(#[source] std::io::Error),
    /// A disk does not answer.
    #[error("configuration, log or status file could not be opened within {0:?}: check their disks")]
    TooSlow(std::time::Duration),
}

/// The parts of the loop. The lock is held, so the status file is this agent's.
pub(crate) struct Setup {
    pub(crate) config: AgentConfig,
    pub(super) source: ConfigSource,
    pub(super) writer: StatusWriter,
    pub(super) found: Found,
    /// The API's listener.
    pub(crate) api: Result<Listening, ListenError>,
    /// The contents of the TLS files.
    pub(super) tls: Material,
    pub(super) token: Option<Token>,
}

impl Setup {
    /// Sets everything up. Blocks on the disks.
    pub(super) fn begin(source: ConfigSource) -> Result<Self, StartError> {
        let Loaded { config, file, read_once, notes, tls, token, .. } = source.load().map_err(StartError::Config)?;
        // A reload reads the same file again, even if a file in a location of higher rank was created since.
        let source = ConfigSource { file, read_once, ..source };
        logging::start(&config.log, ("agent_id", &config.agent_id)).map_err(StartError::Log)?;
        let opened = access(&config.state)
            .and_then(|access| StatusWriter::open(&config.state.file, config.state.strict, access));
        let (writer, found) = opened.map_err(|error| {
            tracing::error!(%error, "not started");
            StartError::StatusFile(error)
        })?;
        for note in notes.iter().chain(&found.notes) {
            tracing::warn!("{note}");
        }
        log_start(&config, &source, &writer, &found);
        let api = Listening::begin(&config, &tls, token.clone());
        Ok(Self { config, source, writer, found, api, tls, token })
    }
}

/// Logs what is in force, with absolute paths, because the working directory is not known to the reader.
fn log_start(config: &AgentConfig, source: &ConfigSource, writer: &StatusWriter, found: &Found) {
    let previous = found.previous.map(|previous| previous.ended.as_str());
    tracing::info!(
        version = version(),
        pid = std::process::id(),
        incarnation = found.incarnation,
        previous,
        config = source.file.as_deref().map_or_else(|| "(embedded)".to_owned(), ops_config::location),
        status_file = %writer.path().display(),
        log = logging::destination(config.log.file.as_deref().map(absolute).as_deref()),
        heartbeat = if config.heartbeat.is_some() { "on" } else { "standalone" },
        "starting"
    );
}
