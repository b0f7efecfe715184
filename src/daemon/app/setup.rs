//! What blocks on the way up: configuration, log, lock, registry, listeners. It runs on the pool, since a disk may hang, so
//! that a signal is heard meanwhile.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use statemachine::supervision::BootId;

use super::specs::BaseDirs;
use crate::daemon::api::socket::{SocketError, SocketFile};
use crate::daemon::processes::raise_descriptors;
use crate::daemon::registry::SavedRegistry;
use crate::daemon::store::{Store, StoreError};
use ops_config::daemon::DaemonConfig;
use ops_config::{Loaded, Overrides, Problems, load_daemon};
use ops_http::Token;
use ops_http::server::{BindError, bind};
use ops_http::tls::Material;
use ops_runtime::{logging, observe};

/// Where the configuration is, now and at each reload.
#[derive(Debug, Clone)]
pub(crate) struct ConfigSource {
    /// `None`: wherever one is found.
    pub file: Option<PathBuf>,
    /// What the command line sets.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// Reads and checks everything. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// All that is wrong, at once.
    pub(crate) fn load(&self) -> Result<Loaded<DaemonConfig>, Problems> {
        load_daemon(self.file.as_deref(), &self.overrides)
    }
}

/// Why the daemon did not come up.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The configuration is wrong.
    Config(Problems),
    /// The configuration asks for what cannot be had: the fact, and what to do.
    Agents(String),
    /// Logging cannot begin.
    Log(io::Error),
    /// The working directory cannot be had.
    Store(StoreError),
    /// The kernel does not say which boot this is.
    Boot(io::Error),
    /// What runs already cannot be told.
    Processes(io::Error),
    /// The token cannot be had: the fact, and what to do.
    Token(String),
    /// The API's address cannot be had.
    Bind(BindError),
    /// The socket cannot be had.
    Socket(SocketError),
    /// The listeners cannot be watched.
    Listener(io::Error),
    /// The counters cannot be set up.
    DaemonMetrics(prometheus::Error),
    /// There is no thread to be had.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => write!(f, "{problems}"),
            Self::Agents(text) | Self::Token(text) => f.write_str(text),
            Self::Log(error) => write!(f, "{error}"),
            Self::Store(error) => write!(f, "{error}"),
            Self::Boot(_) => f.write_str("the kernel does not say which boot this is: mount /proc"),
            Self::Processes(_) => f.write_str("it cannot be told which agents run already: see that /proc can be read"),
            Self::Bind(error) => write!(f, "{error}"),
            Self::Socket(error) => write!(f, "{error}"),
            Self::Listener(_) => f.write_str("the listeners cannot be watched: see the limit of open files"),
            Self::DaemonMetrics(_) => f.write_str("the metrics cannot be set up"),
            Self::Thread(_) => f.write_str("no thread can be started: raise the limit on processes"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(_) | Self::Agents(_) | Self::Token(_) => None,
            Self::Log(error) => error.source(),
            Self::Store(error) => error.source(),
            Self::Bind(error) => error.source(),
            Self::Socket(error) => error.source(),
            Self::Boot(error) | Self::Processes(error) | Self::Listener(error) | Self::Thread(error) => Some(error),
            Self::DaemonMetrics(error) => Some(error),
        }
    }
}

/// All that the loop is built from. The lock is held: there is no other daemon for these agents.
pub(super) struct Setup {
    pub(super) config: DaemonConfig,
    /// Where all this is.
    pub(super) place: BaseDirs,
    pub(super) source: ConfigSource,
    pub(super) store: Store,
    pub(super) saved: Option<SavedRegistry>,
    pub(super) boot: BootId,
    pub(super) listener: TcpListener,
    pub(super) token: Option<Token>,
    pub(super) tls: Material,
    pub(super) socket: SocketFile,
}

impl Setup {
    /// Sets everything up, and blocks as long as the disks like.
    pub(super) fn begin(source: ConfigSource) -> Result<Self, StartError> {
        let Loaded { config, file, notes, tls, .. } = source.load().map_err(StartError::Config)?;
        // A reload reads the same file again, even if one of higher rank has appeared meanwhile.
        let source = ConfigSource { file, ..source };
        logging::start(&config.log, ("program", "daemon")).map_err(StartError::Log)?;
        let set_up = Self::with(source, config, tls, &notes);
        set_up.inspect_err(|error| tracing::error!(%error, "not started"))
    }

    fn with(source: ConfigSource, config: DaemonConfig, tls: Material, notes: &[String]) -> Result<Self, StartError> {
        let (store, left) = Store::open(&config.work_dir).map_err(StartError::Store)?;
        for note in notes.iter().chain(&left.notes) {
            tracing::warn!("{note}");
        }
        log_start(&config, &source);
        raise_descriptors();
        let boot = observe::boot_id().map_err(StartError::Boot)?;
        let boot = boot.parse().map_err(|error| StartError::Boot(io::Error::other(error)))?;
        let token = config.http.token_file.as_deref().map(Token::read).transpose().map_err(StartError::Token)?;
        let listener = bind((config.http.host, config.http.port).into()).map_err(StartError::Bind)?;
        let socket = SocketFile::bind(&config.socket_path).map_err(StartError::Socket)?;
        let place = BaseDirs::look(&config.work_dir).map_err(StartError::Agents)?;
        Ok(Self { config, place, source, store, saved: left.registry, boot, listener, token, tls, socket })
    }
}

/// Says once what is in force, with absolute paths: relative ones depend on who started the process.
fn log_start(config: &DaemonConfig, source: &ConfigSource) {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        config = source.file.as_deref().map_or_else(String::new, |file| absolute(file).display().to_string()),
        work_dir = %absolute(&config.work_dir).display(),
        log = logging::destination(config.log.file.as_deref().map(absolute).as_deref()),
        agents = config.agents.len(),
        "starting"
    );
}
