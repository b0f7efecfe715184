//! Why a process was not started, for operators.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::launcher::{Failure, LaunchStep, Orders};
use ops_config::daemon::{EnvFileError, LimitedResource};
use ops_runtime::causes::with_causes;
use ops_runtime::errno::{is_shortage, remedy};

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
    /// The user of the agent may not execute it.
    NotExecutable(PathBuf, io::Error),
    /// The file is not a program for this machine.
    NotAProgram(PathBuf, io::Error),
    /// The process cannot be prepared: the step that failed.
    Unprepared(PathBuf, LaunchStep, io::Error),
    /// The user does not exist.
    NoUser(String),
    /// The group does not exist.
    NoGroup(String),
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

    /// The fact and the remedy for the program of a check.
    #[must_use]
    pub fn of_check(&self) -> String {
        with_causes(self).replace("correct `binary_path`", "correct `exec`")
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
            Self::Missing(_) | Self::InterpreterMissing(_) | Self::NoUser(_) | Self::NoGroup(_) => None,
        }
    }

    /// What a failed step of the launcher means.
    pub(super) fn launch(failure: Failure, orders: &Orders) -> Self {
        let Orders { binary, work_dir, attributes, .. } = orders;
        let Failure { step, errno } = failure;
        let is_limited = |resource| attributes.limits.contains_key(&resource);
        let (path, error) = (binary.clone(), io::Error::from(errno));
        match (step, errno) {
            (LaunchStep::User, Errno::NOENT) => Self::NoUser(attributes.user.clone().unwrap_or_default()),
            (LaunchStep::Group, Errno::NOENT) => Self::NoGroup(attributes.group.clone().unwrap_or_default()),
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
                write!(f, "{} cannot be executed: let the user of the agent execute it (chmod +x)", path.display())
            }
            Self::NotAProgram(path, _) => {
                write!(f, "{} is not a program for this machine: correct `binary_path`", path.display())
            }
            Self::NoUser(name) => write!(f, "user {name} does not exist: create it, or correct `user`"),
            Self::NoGroup(name) => write!(f, "group {name} does not exist: create it, or correct `group`"),
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
            Self::Unprepared(path, step, error) if step.is_of_process() && !is_shortage(error) => {
                write!(
                    f,
                    "{} cannot be started: its launcher could not {}: check the security policy of the daemon",
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
