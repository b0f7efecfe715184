//! Starts a process: spawns the launcher, records it, and gives it its orders.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, geteuid, kill_process, kill_process_group, waitid};
use statemachine::supervision::Identity;

use super::cgroups::{Cgroup, Cgroups};
use super::environment::with_settings;
use super::identity::current_boot;
use super::launcher::{self, OpenFiles, Orders, Reply};
use super::main_process::MainProcess;
use super::output::{self, LogFile};
use super::secret::{self, StartSecret};
pub use super::start_error::StartError;
use super::work_dir;
use ops_config::daemon::ProcessSettings;
use ops_runtime::blocking;
use ops_runtime::observe::Stat;
use ops_runtime::orphans;

/// The time that a launcher has to execute the program. Only a disk that does not answer takes longer.
pub(crate) const LAUNCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The size limit of a launcher's reply, in bytes.
pub(super) const MAX_REPLY_BYTES: u64 = 1024;

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The absolute path of the program.
    pub binary: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The current directory of the process. Created for its user if missing. Output goes to `logs/agent.log` in it.
    pub work_dir: PathBuf,
    /// The work directory of the daemon.
    pub daemon_dir: PathBuf,
    /// Its environment without the variables of `settings`, as `NAME=value`.
    pub environment: Vec<OsString>,
    /// The secret of this start. It is added to the environment.
    pub secret: StartSecret,
    /// Its limit on open files, if the daemon has another one.
    pub open_files: Option<OpenFiles>,
    /// The settings of its process. Paths are absolute.
    pub settings: ProcessSettings,
    /// Where its cgroup is made. `None`: it stays in that of the daemon.
    pub cgroups: Option<Cgroups>,
    /// The program that prepares the process: [`launcher::program`].
    pub launcher: PathBuf,
}

/// A process that was started.
#[derive(Debug)]
pub struct Started {
    /// The main process of the tree.
    pub main: MainProcess,
    /// The secret of the start.
    pub secret: StartSecret,
    /// The user that the program runs as.
    pub user: u32,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// The log as it was before the first output of the process.
    pub log: LogFile,
}

/// Starts a process in a session of its own, with an empty standard input and its output in its log.
///
/// `record` is called with the identity of the process before the program runs, and again with its user if that is not the user
/// of the daemon. If the future is dropped, the process is killed.
///
/// # Errors
///
/// [`StartError`]; then there is no process.
pub async fn start(
    launch: Launch,
    record: impl Fn(Identity, Option<u32>) + Send + 'static,
) -> Result<Started, StartError> {
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
            if let Some(cgroup) = started.cgroup {
                cgroup.remove();
            }
        }
    }
}

fn start_now(launch: Launch, record: impl Fn(Identity, Option<u32>)) -> Result<Unclaimed, StartError> {
    let Launch { launcher, binary, args, work_dir, environment, secret, open_files, settings, daemon_dir, cgroups } =
        launch;
    let environment = with_settings(environment, &settings).map_err(StartError::EnvFile)?;
    let no_directory = |error| StartError::WorkDir(work_dir.clone(), error);
    let made = match settings.attributes.user {
        Some(_) => work_dir::make_for_another(&work_dir, &daemon_dir),
        None => work_dir::make(&work_dir),
    };
    made.map_err(no_directory)?;
    let no_output = |error| StartError::Output(output::path(&work_dir), error);
    let log = output::open(&work_dir).map_err(no_output)?;
    output::mark_start(&log);
    let found = LogFile::of(&log.metadata().map_err(no_output)?);
    let errors = log.try_clone().map_err(no_output)?;
    let system = |error| StartError::System(binary.clone(), error);
    let mut command = Command::new(launcher);
    // Nothing but the secret, so that no variable of the agent has an effect on the launcher.
    command.arg(launcher::ARGUMENT).env_clear().env(secret::VARIABLE, secret.reveal()).stdout(log).stderr(errors);
    let (main, mut daemons_end) = spawn(command).map_err(system)?;
    let identity = main.identity();
    // Dropping it kills the process and reaps it.
    let cgroup = cgroups.and_then(|cgroups| cgroup_with(&cgroups, &secret, identity.pid));
    let own_user = geteuid().as_raw();
    let mut unclaimed = Unclaimed(Some(Started { main, secret, user: own_user, cgroup, log: found }));
    record(identity, None);
    let attributes = settings.attributes;
    let orders = Orders {
        binary: binary.clone(),
        args,
        work_dir: work_dir.clone(),
        environment,
        input: OsString::new(),
        open_files,
        attributes,
    };
    match give_orders(&mut daemons_end, &orders).map_err(system)? {
        Reply::Executed { user } => {
            if let Some(started) = unclaimed.0.as_mut().filter(|_| user != own_user) {
                started.user = user;
                record(identity, Some(user));
            }
            Ok(unclaimed)
        }
        Reply::Failed(failure) => Err(StartError::launch(failure, &orders)),
        Reply::Ended(_) | Reply::Nothing => Err(system(io::Error::other("its launcher was killed"))),
    }
}

/// Starts a launcher. Its standard input is one end of a socket; returns the other one.
pub(super) fn spawn(mut command: Command) -> io::Result<(MainProcess, UnixStream)> {
    let (daemons_end, launchers_end) = UnixStream::pair()?;
    let child = orphans::spawn(command.stdin(OwnedFd::from(launchers_end)))?;
    // It holds the launcher's end of the socket, which must be closed for the end of the reply to show.
    drop(command);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    // Without an identity the process could not be told from a later one with its pid.
    let identity = identity(&child).inspect_err(|_| kill_child(pid))?;
    Ok((MainProcess::child(pid, identity), daemons_end))
}

/// Puts the launcher, which has no descendants yet, into a new cgroup. `None`: it stays in that of the daemon.
fn cgroup_with(cgroups: &Cgroups, secret: &StartSecret, launcher: u32) -> Option<Cgroup> {
    let cgroup = cgroups.of(secret)?;
    let held = cgroup.hold(launcher);
    let refused = held.inspect_err(|error| {
        tracing::warn!(pid = launcher, %error, "the process is in no cgroup of its own: its members are found in /proc");
    });
    refused.is_ok().then_some(cgroup)
}

/// Sends the orders, and waits until the program is executed or the launcher has failed.
pub(super) fn give_orders(launcher: &mut UnixStream, orders: &Orders) -> io::Result<Reply> {
    give_orders_and(launcher, orders, read_all)
}

/// Sends the orders, and waits for a reply, as `read` gets it.
pub(super) fn give_orders_and(
    launcher: &mut UnixStream,
    orders: &Orders,
    read: fn(&UnixStream) -> io::Result<Vec<u8>>,
) -> io::Result<Reply> {
    launcher.set_read_timeout(Some(LAUNCH_TIMEOUT))?;
    launcher.set_write_timeout(Some(LAUNCH_TIMEOUT))?;
    let sent = launcher.write_all(&orders.encode()?).and_then(|()| launcher.shutdown(Shutdown::Write));
    let received = read(launcher);
    let reply = received.as_deref().map_or(Reply::Nothing, Reply::decode);
    // A launcher that failed early may not have read the orders. Its reply says why.
    match (reply, sent.and(received)) {
        (Reply::Nothing, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the program was not executed within {LAUNCH_TIMEOUT:?}: check its disk or network drive"),
        )),
        (Reply::Nothing, Err(error)) => Err(error),
        (reply, _) => Ok(reply),
    }
}

/// The reply up to the execution of the program, which closes the socket.
fn read_all(launcher: &UnixStream) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    let received = launcher.take(MAX_REPLY_BYTES).read_to_end(&mut reply);
    received.map(drop).or_else(|error| if is_whole(&error, &reply) { Ok(()) } else { Err(error) })?;
    Ok(reply)
}

/// Whether a reply is whole although its end is an error. A launcher that fails before it has read its orders resets the
/// connection after its reply.
pub(super) fn is_whole(error: &io::Error, reply: &[u8]) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset && !reply.is_empty()
}

/// The child may have exited, but it is not reaped, so the pid is its own.
pub(super) fn identity(child: &Child) -> io::Result<Identity> {
    Ok(Identity { pid: child.id(), start_ticks: Stat::of(child.id())?.start, boot: current_boot()? })
}

/// Kills a child at once, with what is in its session so far, and reaps it.
pub(super) fn kill_child(pid: Pid) {
    let _ = kill_process(pid, Signal::KILL);
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    orphans::release(pid.as_raw_nonzero().get().unsigned_abs());
}
