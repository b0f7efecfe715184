//! The blocking part of the start: configuration, log, lock, registry, listeners. It runs on a blocking thread, so the daemon
//! reacts to signals even if a disk hangs.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;

use statemachine::supervision::BootId;

use super::specs::BaseDirs;
use crate::daemon::api::socket::{SocketError, SocketFile};
use crate::daemon::effects::CheckSetupError;
use crate::daemon::processes::secret::KeyError;
use crate::daemon::processes::{Cgroups, IdentityKey, Starts, raise_open_files_limit, warn_of_ignored_signals};
use crate::daemon::registry::SavedRegistry;
use crate::daemon::store::{Store, StoreError};
use ops_config::daemon::DaemonConfig;
use ops_config::{Loaded, Overrides, Problems, load_daemon, location, not_again, validate_daemon};
use ops_http::Token;
use ops_http::server::{BindError, bind};
use ops_http::tls::Material;
use ops_runtime::errno::remedy;
use ops_runtime::paths::absolute;
use ops_runtime::{logging, observe};

/// Where the configuration is read from, at the start and at each reload.
#[derive(Debug, Clone)]
pub(crate) struct ConfigSource {
    /// `None`: the default locations are searched.
    pub file: Option<PathBuf>,
    /// Whether the file came through a pipe at the start.
    pub read_once: bool,
    /// The settings from the command line.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// Reads and checks the configuration. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// All problems at once.
    pub(crate) fn load(&self) -> Result<Loaded<DaemonConfig>, Problems> {
        if let Some(file) = self.file.as_deref().filter(|_| self.read_once) {
            return Err(not_again(file));
        }
        load_daemon(self.file.as_deref(), &self.overrides)
    }

    /// Reads and checks the configuration, and also reads the files of the agents. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// All problems at once.
    pub(crate) fn validate(&self) -> Result<Loaded<DaemonConfig>, Problems> {
        validate_daemon(self.file.as_deref(), &self.overrides)
    }
}

/// Why the daemon did not start.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The configuration is wrong.
    Config(Problems),
    /// A check of an agent cannot be set up as configured.
    Check(CheckSetupError),
    /// `daemon.http.tls` is set, but its files were not read.
    TlsNotRead,
    /// The current directory no longer exists.
    CurrentDirectory(io::Error),
    /// Logging cannot be started.
    Log(logging::LogError),
    /// The work directory cannot be used.
    Store(StoreError),
    /// The key of start secrets cannot be used.
    Key(KeyError),
    /// The records of starts cannot be read.
    Starts(PathBuf, io::Error),
    /// The boot id cannot be read.
    Boot(io::Error),
    /// The address of the API cannot be bound.
    Bind(BindError),
    /// The socket cannot be bound.
    Socket(SocketError),
    /// The listeners cannot be watched.
    Listener(io::Error),
    /// The metrics cannot be set up.
    Metrics(prometheus::Error),
    /// No thread can be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => write!(f, "{problems}"),
            Self::Check(error) => write!(f, "{error}"),
            Self::TlsNotRead => f.write_str("`daemon.http.tls` is set, but its files were not read"),
            Self::CurrentDirectory(_) => {
                f.write_str("the current directory no longer exists: start the daemon in an existing one")
            }
            Self::Log(error) => write!(f, "{error}"),
            Self::Store(error) => write!(f, "{error}"),
            Self::Key(error) => write!(f, "{error}"),
            Self::Starts(path, error) => write!(f, "{} cannot be used: {}", path.display(), remedy(error)),
            Self::Boot(_) => f.write_str("the boot id cannot be read: mount /proc"),
            Self::Bind(error) => write!(f, "{error}"),
            Self::Socket(error) => write!(f, "{error}"),
            Self::Listener(_) => f.write_str("the listeners cannot be watched: raise the limit on open files"),
            Self::Metrics(_) => f.write_str("the metrics cannot be set up"),
            Self::Thread(_) => f.write_str("no thread can be started: raise the limit on processes"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(_) | Self::Check(_) | Self::TlsNotRead => None,
            Self::Log(error) => error.source(),
            Self::Store(error) => error.source(),
            Self::Bind(error) => error.source(),
            Self::Socket(error) => error.source(),
            Self::Key(error) => error.source(),
            Self::Starts(_, error)
            | Self::Boot(error)
            | Self::CurrentDirectory(error)
            | Self::Listener(error)
            | Self::Thread(error) => Some(error),
            Self::Metrics(error) => Some(error),
        }
    }
}

/// The parts of the loop. The lock is held, so no other daemon runs in this work directory.
pub(super) struct Setup {
    pub(super) config: DaemonConfig,
    pub(super) base_dirs: BaseDirs,
    pub(super) source: ConfigSource,
    pub(super) store: Store,
    pub(super) saved: Option<SavedRegistry>,
    pub(super) key: IdentityKey,
    pub(super) starts: Starts,
    /// Where the agents get cgroups.
    pub(super) cgroups: Option<Cgroups>,
    pub(super) boot: BootId,
    pub(super) listener: TcpListener,
    pub(super) token: Option<Token>,
    pub(super) tls: Material,
    pub(super) socket: SocketFile,
}

impl Setup {
    /// Sets everything up. Blocks on the disk without a limit.
    pub(super) fn begin(source: ConfigSource) -> Result<Self, StartError> {
        let Loaded { config, file, included, read_once, notes, tls, token, .. } =
            source.load().map_err(StartError::Config)?;
        // A reload reads the same file, even if a file of higher precedence has appeared.
        let file = file.map(|file| if read_once { file } else { absolute(&file) });
        let source = ConfigSource { file, read_once, ..source };
        logging::start(&config.log, ("program", "daemon")).map_err(StartError::Log)?;
        let set_up = Self::with(source, config, &included, (tls, token), &notes);
        set_up.inspect_err(|error| tracing::error!(%error, "daemon not started"))
    }

    fn with(
        source: ConfigSource,
        config: DaemonConfig,
        included: &[PathBuf],
        (tls, token): (Material, Option<Token>),
        notes: &[String],
    ) -> Result<Self, StartError> {
        let (store, left) = Store::open(&config.work_dir).map_err(StartError::Store)?;
        for note in notes.iter().chain(&left.notes) {
            tracing::warn!("{note}");
        }
        let key = IdentityKey::open(&config.work_dir).map_err(StartError::Key)?;
        let no_starts = |error| StartError::Starts(config.work_dir.join("starts"), error);
        let starts = Starts::open(&config.work_dir).map_err(no_starts)?;
        log_start(&config, &source, included);
        raise_open_files_limit();
        warn_of_ignored_signals();
        let boot = observe::boot_id().map_err(StartError::Boot)?;
        let boot = boot.parse().map_err(|error| StartError::Boot(io::Error::other(error)))?;
        let listener = bind((config.http.host, config.http.port).into()).map_err(StartError::Bind)?;
        let socket = SocketFile::bind(&config.socket_path, None).map_err(StartError::Socket)?;
        let base_dirs = BaseDirs::find(&config.work_dir).map_err(StartError::CurrentDirectory)?;
        let cgroups = base_dirs.cgroups();
        Ok(Self {
            config,
            base_dirs,
            source,
            store,
            saved: left.registry,
            key,
            starts,
            cgroups,
            boot,
            listener,
            token,
            tls,
            socket,
        })
    }
}

/// Logs the settings in force, with absolute paths, because relative ones depend on the current directory.
fn log_start(config: &DaemonConfig, source: &ConfigSource, included: &[PathBuf]) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        config = source.file.as_deref().map_or_else(String::new, location),
        included = included.len(),
        work_dir = %absolute(&config.work_dir).display(),
        log = logging::destination(config.log.file.as_deref().map(absolute).as_deref()),
        agents = config.agents.len(),
        "daemon starting"
    );
}
