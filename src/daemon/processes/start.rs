//! Starts a process: spawns the launcher, records it, and gives it its orders.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::DirBuilder;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use statemachine::supervision::Identity;

use super::environment::with_settings;
use super::identity::current_boot;
use super::launcher::{self, Failure, LaunchStep, OpenFiles, Orders, Reply};
use super::main_process::MainProcess;
use super::output;
use super::secret::{self, StartSecret};
use ops_config::daemon::{EnvFileError, LimitedResource, ProcessSettings};
use ops_runtime::blocking;
use ops_runtime::errno::{is_shortage, remedy};
use ops_runtime::observe::Stat;
use ops_runtime::orphans;

/// The time that a launcher has to execute the program. Only a disk that does not answer takes longer.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The size limit of a launcher's reply, in bytes.
const MAX_REPLY_BYTES: u64 = 1024;

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The absolute path of the program.
    pub binary: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The current directory of the process. Created for this user alone if missing. Output goes to `logs/agent.log` in it.
    pub work_dir: PathBuf,
    /// Its environment without the variables of `settings`, as `NAME=value`.
    pub environment: Vec<OsString>,
    /// The secret of this start. It is added to the environment.
    pub secret: StartSecret,
    /// Its limit on open files, if the daemon has another one.
    pub open_files: Option<OpenFiles>,
    /// The settings of its process. Paths are absolute.
    pub settings: ProcessSettings,
    /// The program that prepares the process: [`launcher::program`].
    pub launcher: PathBuf,
}

/// Why a process was not started.
#[derive(Debug)]
pub enum StartError {
    /// The work directory cannot be created, or has been removed.
    WorkDir(PathBuf, io::Error),
    /// The log cannot be opened.
    Output(PathBuf, io::Error),
    /// The file with variables cannot be used.
    EnvFile(EnvFileError),
    /// The program does not exist.
    Missing(PathBuf),
    /// The program exists, but not the interpreter in its first line, or its loader.
    InterpreterMissing(PathBuf),
    /// The daemon's user may not execute it.
    NotExecutable(PathBuf, io::Error),
    /// The file is not a program for this machine.
    NotAProgram(PathBuf, io::Error),
    /// The process cannot be prepared: the step that failed.
    Unprepared(PathBuf, LaunchStep, io::Error),
    /// A limit of the agent is too low for its program: the key of the limit.
    Limited(PathBuf, &'static str, io::Error),
    /// The system refuses a new process, mostly because memory, descriptors or processes ran out.
    System(PathBuf, io::Error),
}

impl StartError {
    /// Whether descriptors, memory or processes ran out. That says nothing about the agent.
    #[must_use]
    pub fn is_own_fault(&self) -> bool {
        !matches!(self, Self::Limited(..)) && self.cause().is_some_and(is_shortage)
    }

    const fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::WorkDir(_, error)
            | Self::Output(_, error)
            | Self::NotExecutable(_, error)
            | Self::NotAProgram(_, error)
            | Self::Unprepared(_, _, error)
            | Self::Limited(_, _, error)
            | Self::System(_, error) => Some(error),
            Self::EnvFile(error) => error.cause(),
            Self::Missing(_) | Self::InterpreterMissing(_) => None,
        }
    }

    /// What a failed step of the launcher means.
    fn launch(failure: Failure, orders: &Orders) -> Self {
        let Orders { binary, work_dir, attributes, .. } = orders;
        let Failure { step, errno } = failure;
        let is_limited = |resource| attributes.limits.contains_key(&resource);
        let (path, error) = (binary.clone(), io::Error::from(errno));
        match (step, errno) {
            (LaunchStep::WorkDir, _) => Self::WorkDir(work_dir.clone(), error),
            (LaunchStep::Execute, Errno::NOENT | Errno::NOTDIR) if !binary.exists() => Self::Missing(path),
            (LaunchStep::Execute, Errno::NOENT) => Self::InterpreterMissing(path),
            (LaunchStep::Execute, Errno::ACCESS | Errno::PERM) => Self::NotExecutable(path, error),
            (LaunchStep::Execute, Errno::NOEXEC | Errno::ISDIR | Errno::INVAL | Errno::LIBBAD) => {
                Self::NotAProgram(path, error)
            }
            (LaunchStep::Execute, Errno::AGAIN) if is_limited(LimitedResource::Processes) => {
                Self::Limited(path, LimitedResource::Processes.key(), error)
            }
            (LaunchStep::Execute, Errno::NOMEM) if is_limited(LimitedResource::AddressSpace) => {
                Self::Limited(path, LimitedResource::AddressSpace.key(), error)
            }
            (LaunchStep::Execute, _) => Self::System(path, error),
            (_, _) => Self::Unprepared(path, step, error),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkDir(path, error) => {
                write!(f, "work directory {} cannot be used: {}", path.display(), remedy(error))
            }
            Self::Output(path, error) => write!(f, "log {} cannot be opened: {}", path.display(), remedy(error)),
            Self::EnvFile(error) => write!(f, "{error}"),
            Self::Missing(path) => {
                write!(f, "{} does not exist: install it, or correct `binary_path`", path.display())
            }
            Self::InterpreterMissing(path) => {
                write!(f, "the interpreter of {} is missing: install what its first line names", path.display())
            }
            Self::NotExecutable(path, _) => {
                write!(f, "{} cannot be executed: let the daemon's user execute it (chmod +x)", path.display())
            }
            Self::NotAProgram(path, _) => {
                write!(f, "{} is not a program for this machine: correct `binary_path`", path.display())
            }
            Self::Limited(path, key, _) => {
                write!(f, "{} cannot be started: raise `limits.{key}`", path.display())
            }
            Self::Unprepared(path, step, _) if step.is_setting() => {
                write!(
                    f,
                    "{} cannot be started: its launcher could not {}: change the setting, or run the daemon as root",
                    path.display(),
                    step.as_str()
                )
            }
            Self::Unprepared(path, step, error) => {
                write!(
                    f,
                    "{} cannot be started: its launcher could not {}: {}",
                    path.display(),
                    step.as_str(),
                    remedy(error)
                )
            }
            Self::System(path, error) if is_shortage(error) => {
                write!(f, "{} cannot be started: raise the limits on processes, open files and memory", path.display())
            }
            Self::System(path, _) => write!(f, "{} cannot be started", path.display()),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause().map(|error| error as &(dyn Error + 'static))
    }
}

/// A process that was started.
#[derive(Debug)]
pub struct Started {
    /// The main process of the tree.
    pub main: MainProcess,
    /// The secret of the start.
    pub secret: StartSecret,
    /// The offset in the log, in bytes, at which its output begins. For [`tail`](super::tail).
    pub output_from: u64,
}

/// Starts a process in a session of its own, with an empty standard input and its output in its log.
///
/// `record` is called with the identity of the process before the program runs. If the future is dropped, the process is killed.
///
/// # Errors
///
/// [`StartError`]; then there is no process.
pub async fn start(launch: Launch, record: impl FnOnce(Identity) + Send + 'static) -> Result<Started, StartError> {
    let binary = launch.binary.clone();
    let started = blocking::unblock(move || start_now(launch, record)).await;
    let mut started = started.map_err(|error| StartError::System(binary, error))??;
    let gone = || StartError::System(PathBuf::new(), io::ErrorKind::NotFound.into());
    started.0.take().ok_or_else(gone)
}

/// A started process that has not been handed over. Killed if it is dropped.
struct Unclaimed(Option<Started>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(started) = self.0.take()
            && let Some(pid) = Pid::from_raw(started.main.identity().pid.cast_signed())
        {
            kill_child(pid);
        }
    }
}

fn start_now(launch: Launch, record: impl FnOnce(Identity)) -> Result<Unclaimed, StartError> {
    let Launch { launcher, binary, args, work_dir, environment, secret, open_files, settings } = launch;
    let environment = with_settings(environment, &settings).map_err(StartError::EnvFile)?;
    let no_directory = |error| StartError::WorkDir(work_dir.clone(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(&work_dir).map_err(no_directory)?;
    let no_output = |error| StartError::Output(output::path(&work_dir), error);
    let log = output::open(&work_dir).map_err(no_output)?;
    output::mark_start(&log);
    let output_from = log.metadata().map_err(no_output)?.len();
    let errors = log.try_clone().map_err(no_output)?;
    let system = |error| StartError::System(binary.clone(), error);
    let (mut daemons_end, launchers_end) = UnixStream::pair().map_err(system)?;
    let mut command = Command::new(launcher);
    // Nothing but the secret, so that no variable of the agent has an effect on the launcher.
    command.arg(launcher::ARGUMENT).env_clear().env(secret::VARIABLE, secret.reveal());
    command.stdin(OwnedFd::from(launchers_end)).stdout(log).stderr(errors);
    let child = orphans::spawn(&mut command).map_err(system)?;
    // It holds the launcher's end of the socket, which must be closed for the end of the reply to show.
    drop(command);
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return Err(system(io::ErrorKind::InvalidData.into()));
    };
    // Without an identity the process could not be told from a later one with its pid.
    let identity = identity(&child).map_err(|error| {
        kill_child(pid);
        system(error)
    })?;
    let main = MainProcess::child(pid, identity);
    // Dropping it kills the process and reaps it.
    let unclaimed = Unclaimed(Some(Started { main, secret, output_from }));
    record(identity);
    let attributes = settings.attributes;
    let orders =
        Orders { binary: binary.clone(), args, work_dir: work_dir.clone(), environment, open_files, attributes };
    match give_orders(&mut daemons_end, &orders).map_err(system)? {
        Reply::Executed => Ok(unclaimed),
        Reply::Failed(failure) => Err(StartError::launch(failure, &orders)),
        Reply::Nothing => Err(system(io::Error::other("its launcher was killed"))),
    }
}

/// Sends the orders, and waits until the program is executed or the launcher has failed.
fn give_orders(launcher: &mut UnixStream, orders: &Orders) -> io::Result<Reply> {
    launcher.set_read_timeout(Some(LAUNCH_TIMEOUT))?;
    launcher.set_write_timeout(Some(LAUNCH_TIMEOUT))?;
    let sent = launcher.write_all(&orders.encode()?).and_then(|()| launcher.shutdown(Shutdown::Write));
    let mut reply = Vec::new();
    let received = launcher.take(MAX_REPLY_BYTES).read_to_end(&mut reply);
    // A launcher that failed early may not have read the orders. Its reply says why.
    match (Reply::decode(&reply), sent.and(received.map(drop))) {
        (Reply::Nothing, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the program was not executed within {LAUNCH_TIMEOUT:?}: check its disk or network drive"),
        )),
        (Reply::Nothing, Err(error)) => Err(error),
        (reply, _) => Ok(reply),
    }
}

/// The child may have exited, but it is not reaped, so the pid is its own.
fn identity(child: &Child) -> io::Result<Identity> {
    Ok(Identity { pid: child.id(), start_ticks: Stat::of(child.id())?.start, boot: current_boot()? })
}

/// Kills a child at once, with what is in its session so far, and reaps it.
fn kill_child(pid: Pid) {
    let _ = kill_process(pid, Signal::KILL);
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    orphans::release(pid.as_raw_nonzero().get().unsigned_abs());
}
