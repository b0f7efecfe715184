//! Runs the programs of checks, each below a launcher of its own that ends what it starts.
//!
//! The launcher runs the program until that ends, or until this side closes their socket. So nothing of a check outlives the
//! daemon, whatever ends it. No process of a check belongs to the tree of an agent: it descends from its launcher, has a session
//! of its own, and carries no start secret.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::future::pending;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt as _, FutureExt as _};
use rustix::process::{Signal, kill_process_group};
use smol::lock::Semaphore;
use statemachine::supervision::Exit;

use super::environment::with_settings;
use super::launcher::{self, OpenFiles, Orders, Reply};
use super::main_process::{MainProcess, Member};
use super::start::{MAX_REPLY_BYTES, StartError, give_orders_and, is_whole, spawn};
use super::trees::Trees;
use ops_config::daemon::ProcessSettings;
use ops_runtime::blocking;
use ops_runtime::clock::within;

/// How many programs are started at the same time. Each start holds a thread.
const STARTS_AT_A_TIME: usize = 8;

/// How much a program may write. One that writes more is ended.
const MAX_OUTPUT: usize = 1024 * 1024;

/// How much of the output is kept.
const KEPT_OUTPUT: usize = 4096;

/// The time that a launcher has to end what it has started, before the daemon does so.
const HANG_UP_TIME: Duration = Duration::from_secs(1);

/// How often the daemon looks for what a launcher has not ended.
const KILL_ROUNDS: u32 = 4;

/// The time from the time limit of a check until nothing of it is left, at most, if the kernel can end it.
pub(crate) const ENDING: Duration = Duration::from_secs((1 + KILL_ROUNDS) as u64);

/// What to run.
#[derive(Debug, Clone)]
pub struct CheckCommand {
    /// The absolute path of the program.
    pub binary: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its current directory.
    pub work_dir: PathBuf,
    /// Its environment without the variables of `settings`, as `NAME=value`.
    pub environment: Vec<OsString>,
    /// Its limit on open files, if the daemon has another one.
    pub open_files: Option<OpenFiles>,
    /// User, group, umask and variables.
    pub settings: ProcessSettings,
    /// The program that prepares the process: [`launcher::program`].
    pub launcher: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub enum CheckEnd {
    /// The program ended.
    Ended(Exit),
    /// It took too long, and was killed.
    TimedOut,
    /// It wrote too much, and was killed.
    WroteTooMuch,
    /// It was not started.
    NotStarted(StartError),
    /// The launcher ended without a report, as when it was killed.
    Lost,
    /// An earlier run of this agent cannot be ended: the pid of its launcher. Nothing was started.
    Blocked(u32),
}

/// Runs programs, at most one for each agent at the same time.
#[derive(Debug)]
pub struct CheckRuns {
    starts: Semaphore,
    /// The launchers that have not ended although they were told to, by agent.
    left: RefCell<HashMap<String, MainProcess>>,
}

/// A program that runs below its launcher.
struct Running {
    launcher: MainProcess,
    socket: UnixStream,
    output: PipeReader,
    orders: Orders,
}

impl Default for CheckRuns {
    fn default() -> Self {
        Self { starts: Semaphore::new(STARTS_AT_A_TIME), left: RefCell::default() }
    }
}

impl CheckRuns {
    /// Runs a program for an agent, for at most `timeout`, and returns the beginning of its output. When this returns, nothing of
    /// it is left, unless the kernel cannot end it. If the future is dropped, its launcher ends it.
    pub async fn run(&self, trees: &Trees, id: &str, command: CheckCommand, timeout: Duration) -> (CheckEnd, Vec<u8>) {
        if let Some(pid) = self.left_of(id) {
            return (CheckEnd::Blocked(pid), Vec::new());
        }
        let begun = {
            let _permit = self.starts.acquire().await;
            let binary = command.binary.clone();
            let begun = blocking::unblock(move || begin(command)).await;
            begun.unwrap_or_else(|error| Err(StartError::System(binary, error)))
        };
        let Running { launcher, socket, output, orders } = match begun {
            Ok(running) => running,
            Err(error) => return (CheckEnd::NotStarted(error), Vec::new()),
        };
        let mut written = Written::default();
        let end = match (Async::new(socket), Async::new(output)) {
            (Ok(socket), Ok(output)) => {
                let ended = report(&socket, &orders).or(written.read(&output));
                let end = within(timeout, ended).await.unwrap_or(CheckEnd::TimedOut);
                written.read_rest(&output);
                end
            }
            (Err(error), _) | (_, Err(error)) => CheckEnd::NotStarted(StartError::System(orders.binary, error)),
        };
        // The socket is closed by now, so the launcher ends what is left.
        self.end(trees, id, launcher).await;
        (end, written.kept)
    }

    /// The pid of a launcher of this agent that has not ended although it was told to.
    fn left_of(&self, id: &str) -> Option<u32> {
        let mut left = self.left.borrow_mut();
        let launcher = left.get(id)?;
        if launcher.exit().is_none() {
            return Some(launcher.identity().pid);
        }
        left.remove(id);
        None
    }

    /// Waits until a launcher has ended everything, and helps it: what runs as another user, only root can kill.
    async fn end(&self, trees: &Trees, id: &str, launcher: MainProcess) {
        let pid = launcher.identity().pid;
        for round in 0..=KILL_ROUNDS {
            if ends_within(&launcher, HANG_UP_TIME).await {
                // Nothing is left of a launcher that has ended by itself. One that was killed leaves others in its session.
                let group = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
                let _ = group.map(|group| kill_process_group(group, Signal::KILL));
                return;
            }
            if round < KILL_ROUNDS {
                trees.kill_below(launcher.key()).await;
            }
        }
        tracing::error!(
            agent_id = id,
            pid,
            "the program of a check cannot be ended: no other one is started until it is gone"
        );
        self.left.borrow_mut().insert(id.to_owned(), launcher);
    }
}

async fn ends_within(launcher: &MainProcess, time: Duration) -> bool {
    let ended = async {
        launcher.exited().await;
        true
    };
    let expired = async {
        Timer::after(time).await;
        false
    };
    ended.or(expired).await
}

impl Trees {
    /// Sends SIGKILL to every descendant of a launcher, and SIGCONT to the launcher itself.
    async fn kill_below(&self, launcher: super::table::Key) {
        let Ok(table) = self.scan().await else { return };
        if !table.has(launcher) {
            return;
        }
        for pid in table.closure([launcher.0], |_| false) {
            let key = table.get(pid).map(|stat| (pid, stat.start));
            let signal = if pid == launcher.0 { Signal::CONT } else { Signal::KILL };
            if let Some(Err(error)) = key.and_then(Member::open).map(|member| member.signal(signal)) {
                tracing::error!(pid, %error, "a process of a check cannot be signalled");
            }
        }
    }
}

/// Starts a launcher, and waits until it executes the program. Blocks.
fn begin(command: CheckCommand) -> Result<Running, StartError> {
    let CheckCommand { binary, args, work_dir, environment, open_files, settings, launcher } = command;
    let environment = with_settings(environment, &settings).map_err(StartError::EnvFile)?;
    let system = |error| StartError::System(binary.clone(), error);
    let (output, written) = io::pipe().map_err(system)?;
    let errors = written.try_clone().map_err(system)?;
    let mut command = Command::new(launcher);
    command.arg(launcher::CHECK_ARGUMENT).env_clear().env(launcher::CHECK_VARIABLE, "1").stdout(written).stderr(errors);
    let (launcher, mut socket) = spawn(command).map_err(system)?;
    let attributes = settings.attributes;
    let orders =
        Orders { binary: binary.clone(), args, work_dir, environment, input: OsString::new(), open_files, attributes };
    match give_orders_and(&mut socket, &orders, read_line).map_err(system)? {
        Reply::Executed { .. } => {
            socket.set_read_timeout(None).map_err(system)?;
            Ok(Running { launcher, socket, output, orders })
        }
        Reply::Failed(failure) => Err(StartError::launch(failure, &orders)),
        Reply::Ended(_) | Reply::Nothing => Err(system(io::Error::other("its launcher was killed"))),
    }
}

/// The first line of the reply, or all of it if there is no end of a line.
fn read_line(mut launcher: &UnixStream) -> io::Result<Vec<u8>> {
    let (mut reply, mut byte) = (Vec::new(), [0]);
    while (reply.len() as u64) < MAX_REPLY_BYTES && byte != *b"\n" {
        match launcher.read(&mut byte) {
            Ok(1) => reply.extend(byte),
            Ok(_) => break,
            // A signal ends a read that has a time limit, such as SIGCHLD of an orphan.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_whole(&error, &reply) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(reply)
}

/// The last report of a launcher.
async fn report(socket: &Async<UnixStream>, orders: &Orders) -> CheckEnd {
    // It follows the line that was read before.
    let mut reply = Reply::executing(0);
    let received = socket.take(MAX_REPLY_BYTES).read_to_end(&mut reply).await;
    match received.map(|_| Reply::decode(&reply)) {
        Ok(Reply::Ended(exit)) => CheckEnd::Ended(exit),
        Ok(Reply::Failed(failure)) => CheckEnd::NotStarted(StartError::launch(failure, orders)),
        Ok(Reply::Executed { .. } | Reply::Nothing) | Err(_) => CheckEnd::Lost,
    }
}

/// The output of a program.
#[derive(Debug, Default)]
struct Written {
    kept: Vec<u8>,
    bytes: usize,
}

impl Written {
    /// Reads what is written, so that the program does not wait. Ends when that is too much.
    async fn read(&mut self, output: &Async<PipeReader>) -> CheckEnd {
        let mut buffer = [0; KEPT_OUTPUT];
        while self.bytes <= MAX_OUTPUT {
            match output.read_with(|mut output| output.read(&mut buffer)).await {
                Ok(0) | Err(_) => return pending().await,
                Ok(read) => self.take(buffer.get(..read).unwrap_or_default()),
            }
        }
        CheckEnd::WroteTooMuch
    }

    /// Reads what has been written and not read yet.
    fn read_rest(&mut self, output: &Async<PipeReader>) {
        let (mut output, mut buffer) = (output.get_ref(), [0; KEPT_OUTPUT]);
        while self.kept.len() < KEPT_OUTPUT
            && let Ok(read @ 1..) = output.read(&mut buffer)
        {
            self.take(buffer.get(..read).unwrap_or_default());
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        let room = KEPT_OUTPUT - self.kept.len().min(KEPT_OUTPUT);
        self.kept.extend(bytes.iter().take(room));
    }
}
