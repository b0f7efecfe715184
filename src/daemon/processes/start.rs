//! Starts a process.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use statemachine::supervision::Identity;

use super::find::current_boot;
use super::{Process, SupervisionTag, descriptors, output, watch};
use ops_runtime::blocking;
use ops_runtime::errno::{is_shortage, remedy};
use ops_runtime::observe::Stat;

/// Variables of the daemon's service manager that agents must not inherit. An agent would report readiness, feed the watchdog or
/// take listeners in the daemon's name.
///
/// The list is that of systemd.exec(5), "Environment Variables Set or Propagated by the Service Manager", without those that
/// describe the user.
const SERVICE_MANAGER_VARIABLES: [&str; 24] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "FDSTORE",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "SYSTEMD_EXEC_PID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "MAINPID",
    "MAINPIDFDID",
    "PIDFILE",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
];

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The absolute path of the program.
    pub binary: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The current directory of the process. Created for this user alone if missing. Output goes to `logs/agent.log` in it.
    pub work_dir: PathBuf,
    /// The tag by which a later daemon finds it.
    pub tag: SupervisionTag,
}

/// Why a process was not started.
#[derive(Debug)]
pub enum StartError {
    /// The work directory cannot be created, or has been removed.
    WorkDir(PathBuf, io::Error),
    /// The log cannot be opened.
    Output(PathBuf, io::Error),
    /// The program does not exist.
    Missing(PathBuf),
    /// The program exists, but not the interpreter in its first line, or its loader.
    InterpreterMissing(PathBuf),
    /// The daemon's user may not execute it.
    NotExecutable(PathBuf, io::Error),
    /// The file is not a program for this machine.
    NotAProgram(PathBuf, io::Error),
    /// The system refuses a new process, mostly for want of memory, descriptors or processes.
    System(PathBuf, io::Error),
}

impl StartError {
    /// Whether descriptors, memory or processes ran out. That says nothing about the agent.
    #[must_use]
    pub fn is_own_fault(&self) -> bool {
        self.cause().is_some_and(is_shortage)
    }

    const fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::WorkDir(_, error)
            | Self::Output(_, error)
            | Self::NotExecutable(_, error)
            | Self::NotAProgram(_, error)
            | Self::System(_, error) => Some(error),
            Self::Missing(_) | Self::InterpreterMissing(_) => None,
        }
    }

    fn spawn(binary: &Path, work_dir: &Path, error: io::Error) -> Self {
        let path = binary.to_owned();
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) if !binary.exists() => Self::Missing(path),
            // The directory was removed after the log in it was opened.
            Some(Errno::NOENT) if !work_dir.exists() => Self::WorkDir(work_dir.to_owned(), error),
            Some(Errno::NOENT) => Self::InterpreterMissing(path),
            Some(Errno::ACCESS | Errno::PERM) => Self::NotExecutable(path, error),
            Some(Errno::NOEXEC | Errno::ISDIR | Errno::INVAL | Errno::LIBBAD) => Self::NotAProgram(path, error),
            _ => Self::System(path, error),
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

/// Starts a process in a group of its own, with an empty standard input and its output in its log.
///
/// If the future is dropped, the process is killed.
///
/// # Errors
///
/// [`StartError`]; then there is no process.
pub async fn start(launch: Launch) -> Result<Process, StartError> {
    let binary = launch.binary.clone();
    let started = blocking::unblock(move || start_now(&launch)).await;
    let mut started = started.map_err(|error| StartError::System(binary, error))??;
    let gone = || StartError::System(PathBuf::new(), io::ErrorKind::NotFound.into());
    started.0.take().ok_or_else(gone)
}

/// A started process that has not been handed over. Killed if it is dropped.
struct Unclaimed(Option<Process>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            kill_child(process.pid);
        }
    }
}

fn start_now(launch: &Launch) -> Result<Unclaimed, StartError> {
    let Launch { binary, args, work_dir, tag } = launch;
    let no_directory = |error| StartError::WorkDir(work_dir.clone(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(work_dir).map_err(no_directory)?;
    let no_output = |error| StartError::Output(output::path(work_dir), error);
    let log = output::open(work_dir).map_err(no_output)?;
    let output_from = log.metadata().map_err(no_output)?.len();
    let errors = log.try_clone().map_err(no_output)?;
    let (variable, value) = tag.variable();
    let mut command = Command::new(binary);
    command.args(args).current_dir(work_dir).process_group(0).env(variable, value);
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    for name in SERVICE_MANAGER_VARIABLES {
        command.env_remove(name);
    }
    let child = command.spawn().map_err(|error| StartError::spawn(binary, work_dir, error))?;
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return Err(StartError::System(binary.clone(), io::ErrorKind::InvalidData.into()));
    };
    descriptors::restore_limit(pid);
    match identity(&child) {
        Ok(identity) => {
            let watch = watch(pid);
            let process = Process { identity, pid, tag: tag.clone(), child: true, watch, output_from };
            Ok(Unclaimed(Some(process)))
        }
        // Without an identity the process could not be told from a later one with its pid.
        Err(error) => {
            kill_child(pid);
            Err(StartError::System(binary.clone(), error))
        }
    }
}

/// The child may have exited, but it is not reaped, so the pid is its own.
fn identity(child: &Child) -> io::Result<Identity> {
    Ok(Identity { pid: child.id(), start_ticks: Stat::of(child.id())?.start, boot: current_boot()? })
}

/// Kills a child at once, with its group, and reaps it.
fn kill_child(pid: Pid) {
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::daemon::processes::identity_of;

    fn sleeper(work_dir: &Path) -> Unclaimed {
        let launch = Launch {
            binary: "/bin/sleep".into(),
            args: vec!["1000".into()],
            work_dir: work_dir.to_owned(),
            tag: SupervisionTag::new(work_dir, "tested"),
        };
        start_now(&launch).unwrap()
    }

    #[test]
    fn a_dropped_start_leaves_no_process() {
        let directory = tempfile::tempdir().unwrap();
        let started = sleeper(directory.path());
        let pid = started.0.as_ref().unwrap().identity.pid;
        assert!(identity_of(pid).unwrap().is_some());
        drop(started);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_removed_work_directory_is_not_blamed_on_the_program() {
        let directory = tempfile::tempdir().unwrap();
        let missing = || io::Error::from(Errno::NOENT);
        let gone = StartError::spawn(Path::new("/bin/sh"), &directory.path().join("gone"), missing());
        assert!(matches!(gone, StartError::WorkDir(..)), "{gone}");
        let there = StartError::spawn(Path::new("/bin/sh"), directory.path(), missing());
        assert!(matches!(there, StartError::InterpreterMissing(_)), "{there}");
    }

    #[test]
    fn a_process_without_a_pidfd_is_polled() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = sleeper(directory.path()).0.take().unwrap();
        process.watch = None;
        assert!(process.signal(statemachine::supervision::Signal::Kill).unwrap());
        assert_eq!(smol::block_on(process.exited()), statemachine::supervision::Exit::Signal(9));
    }
}
