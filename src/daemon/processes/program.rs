//! Runs a program to its end, within limits: it is no agent, and belongs to no tree.
//!
//! It comes from the [`launcher`] as an agent does, so it has a session of its own, an empty signal mask, and none of the daemon's
//! descriptors. When it ends or its time is over, its process group is killed.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use async_io::Async;
use futures_lite::FutureExt as _;
use futures_lite::future::pending;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use statemachine::supervision::Exit;

use super::launcher::{self, OpenFiles, Orders, Reply};
use super::main_process::MainProcess;
use super::secret;
use super::start::{StartError, give_orders, identity, kill_child};
use ops_config::daemon::ProcessAttributes;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::within;
use ops_runtime::{blocking, orphans};

/// The output of a program that is kept, in bytes. A program that writes more finds its output closed.
pub const MAX_OUTPUT: usize = 64 * 1024;

/// The value of the variable that makes a process a launcher. It is no secret of any start.
const NO_SECRET: &str = "none";

/// What to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// The absolute path of the program.
    pub binary: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its current directory.
    pub work_dir: PathBuf,
    /// Its environment, as `NAME=value`.
    pub environment: Vec<OsString>,
    /// What it reads from its standard input, without a NUL byte.
    pub input: OsString,
    /// Its limit on open files, if the daemon has another one.
    pub open_files: Option<OpenFiles>,
    /// What else is set before it is executed.
    pub attributes: ProcessAttributes,
    /// The program that prepares the process: [`launcher::program`].
    pub launcher: PathBuf,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, or by a signal.
    Exited(Exit),
    /// Its time was over, and it was killed.
    TimedOut(Duration),
    /// It was not started, and why.
    NotStarted(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(exit) => write!(f, "{exit}"),
            Self::TimedOut(limit) => write!(f, "not ended within {} s, and killed", limit.as_secs()),
            Self::NotStarted(why) => f.write_str(why),
        }
    }
}

/// Runs a program. Returns how it ended, and its output and errors. If the future is dropped, its process group is killed.
pub async fn run(program: Program, limit: Duration) -> (Ended, Vec<u8>) {
    let binary = program.binary.clone();
    let started = match blocking::unblock(move || start_now(program)).await {
        Ok(started) => started,
        Err(error) => Err(StartError::System(binary, error)),
    };
    let mut running = match started {
        Ok(running) => running,
        Err(error) => return (Ended::NotStarted(refusal(&error)), Vec::new()),
    };
    let ended = match within(limit, running.ended()).await {
        Some(exit) => Ended::Exited(exit),
        None => Ended::TimedOut(limit),
    };
    running.kill_group();
    (ended, running.take_output())
}

/// Why a program was not started, and what to do. Unlike for an agent, no key has the name `binary_path`.
fn refusal(error: &StartError) -> String {
    match error {
        StartError::Missing(path) => format!("{} does not exist: install it, or correct the path", path.display()),
        StartError::NotExecutable(path, _) => {
            format!("{} cannot be executed: let its user execute it (chmod +x)", path.display())
        }
        StartError::NotAProgram(path, _) => format!("{} is not a program for this machine", path.display()),
        StartError::WorkDir(..)
        | StartError::Output(..)
        | StartError::EnvFile(_)
        | StartError::InterpreterMissing(_)
        | StartError::Unprepared(..)
        | StartError::NoUser(_)
        | StartError::NoGroup(_)
        | StartError::Limited(..)
        | StartError::System(..) => with_causes(error),
    }
}

/// A program that runs. Dropping it kills its process group, and reaps it.
struct Running {
    main: MainProcess,
    /// `None`: it has written enough, or closed it.
    output: Option<Output>,
    written: Vec<u8>,
}

/// The reading end of its output.
enum Output {
    Watched(Async<PipeReader>),
    /// It cannot be watched. It is read at the end.
    Unwatched(PipeReader),
}

impl Running {
    /// Waits for the exit of the main process, and reads meanwhile.
    async fn ended(&mut self) -> Exit {
        let Self { main, output, written } = self;
        let read = async {
            if let Some(Output::Watched(pipe)) = output {
                while pipe.readable().await.is_ok() && read_available(pipe.get_ref(), written) {}
            }
            if written.len() >= MAX_OUTPUT {
                // What is written from now on is an error of the program, which ends most of them.
                *output = None;
            }
            pending().await
        };
        main.exited().or(read).await
    }

    fn kill_group(&self) {
        if let Some(pid) = Pid::from_raw(self.main.identity().pid.cast_signed()) {
            // It is not reaped, so its pid and its group are its own.
            let _ = kill_process(pid, Signal::KILL);
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// What was written, with what is still in the pipe.
    fn take_output(&mut self) -> Vec<u8> {
        match self.output.take() {
            Some(Output::Watched(pipe)) => drop(read_available(pipe.get_ref(), &mut self.written)),
            Some(Output::Unwatched(pipe)) => drop(read_available(&pipe, &mut self.written)),
            None => {}
        }
        std::mem::take(&mut self.written)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Reads what is there without waiting. `false`: that was the end, or enough.
fn read_available(mut pipe: &PipeReader, written: &mut Vec<u8>) -> bool {
    let mut part = [0; 4096];
    while written.len() < MAX_OUTPUT {
        let room = part.len().min(MAX_OUTPUT - written.len());
        match pipe.read(part.get_mut(..room).unwrap_or_default()) {
            Ok(0) => return false,
            Ok(count) => written.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    false
}

fn start_now(program: Program) -> Result<Running, StartError> {
    let Program { binary, args, work_dir, environment, input, open_files, attributes, launcher } = program;
    let system = |error| StartError::System(binary.clone(), error);
    let (mut daemons_end, launchers_end) = UnixStream::pair().map_err(system)?;
    let (reader, writer) = io::pipe().map_err(system)?;
    rustix::io::ioctl_fionbio(&reader, true).map_err(|errno| system(errno.into()))?;
    let mut command = Command::new(launcher);
    command.arg(launcher::ARGUMENT).env_clear().env(secret::VARIABLE, NO_SECRET);
    command.stdin(OwnedFd::from(launchers_end));
    command.stderr(File::from(OwnedFd::from(writer.try_clone().map_err(system)?)));
    command.stdout(File::from(OwnedFd::from(writer)));
    let child = orphans::spawn(&mut command).map_err(system)?;
    // It holds the other ends, which must be closed for their ends to show.
    drop(command);
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return Err(system(io::ErrorKind::InvalidData.into()));
    };
    let identity = identity(&child).map_err(|error| {
        kill_child(pid);
        system(error)
    })?;
    let mut running = Running { main: MainProcess::child(pid, identity), output: None, written: Vec::new() };
    let orders = Orders { binary: binary.clone(), args, work_dir, environment, input, open_files, attributes };
    match give_orders(&mut daemons_end, &orders).map_err(system)? {
        Reply::Executed { .. } => {}
        Reply::Failed(failure) => return Err(StartError::launch(failure, &orders)),
        Reply::Ended(_) | Reply::Nothing => return Err(system(io::Error::other("its launcher was killed"))),
    }
    running.output = Some(match reader.try_clone().and_then(Async::new_nonblocking) {
        Ok(pipe) => Output::Watched(pipe),
        Err(_) => Output::Unwatched(reader),
    });
    Ok(running)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_kept() {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let mut written = vec![b'x'; MAX_OUTPUT - 3];
        assert!(read_available(&reader, &mut written), "nothing is there yet");
        io::Write::write_all(&mut writer, b"abcdef").unwrap();
        assert!(!read_available(&reader, &mut written));
        assert!(written.len() == MAX_OUTPUT && written.ends_with(b"xabc"));
    }
}
