//! What the launcher does: everything before the program, and then the program.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::SigSet;
use rustix::fs::{MemfdFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, geteuid, getpid, set_child_subreaper, setrlimit, setsid};

use super::super::signals::ignored;
use super::account::{Account, with_variables};
use super::{FAILED, Failure, LaunchStep, OpenFiles, Orders, Reply, Role, attributes, check_runner};
use ops_config::daemon::LimitedResource;

/// Becomes the program or runs it, or reports why not.
pub(crate) fn main(role: Role) -> ExitCode {
    match take_stdin() {
        Ok(mut daemon) => {
            let done = prepare(&daemon).and_then(|orders| match role {
                Role::Become => execute(orders, &mut daemon).map(|never| match never {}),
                Role::Check => check_runner::run(orders, &mut daemon),
            });
            let Err(failure) = done else { return ExitCode::SUCCESS };
            let _ = daemon.write_all(&Reply::failed(failure));
            let _ = daemon.shutdown(Shutdown::Both);
        }
        Err(errno) => report_over_stdin(errno),
    }
    ExitCode::from(FAILED)
}

/// Reports that the socket could not be moved away from standard input.
fn report_over_stdin(errno: Errno) {
    let socket = rustix::stdio::stdin();
    // The orders are read first: a socket that is closed before resets the connection, and the daemon would lose the report.
    let mut orders = [0; 4096];
    while matches!(rustix::io::read(socket, &mut orders), Ok(1..)) {}
    let _ = rustix::io::write(socket, &Reply::failed(Failure { step: LaunchStep::Descriptors, errno }));
}

/// Moves the socket away from standard input. The copy is closed when the program is executed.
fn take_stdin() -> Result<UnixStream, Errno> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket.into())
}

/// Reads the orders and does all that comes before the program.
fn prepare(daemon: &UnixStream) -> Result<Orders, Failure> {
    // Without a session of its own, the agent would have the daemon's terminal. And when the daemon ends, the kernel would send
    // SIGHUP to a group in which one process is stopped.
    at(LaunchStep::Session, setsid())?;
    let mut orders = Orders::read(daemon).map_err(|error| Failure {
        step: LaunchStep::Orders,
        errno: Errno::from_io_error(&error).unwrap_or(Errno::PIPE),
    })?;
    at(LaunchStep::Signals, reset_signals())?;
    // It survives the execution. An orphan of the agent then becomes its child and stays recognisable as its own.
    at(LaunchStep::Subreaper, set_child_subreaper(Some(getpid())))?;
    close_fds::set_fds_cloexec(3, &[]);
    if !orders.input.is_empty() {
        at(LaunchStep::Input, give_input(orders.input.as_bytes()))?;
    }
    let is_limited = orders.attributes.limits.contains_key(&LimitedResource::OpenFiles);
    if let Some(OpenFiles { soft, hard }) = orders.open_files.filter(|_| !is_limited) {
        at(LaunchStep::OpenFiles, setrlimit(Resource::Nofile, Rlimit { current: soft, maximum: hard }))?;
    }
    let account = Account::look_up(&orders.attributes)?;
    attributes::set(&orders.attributes)?;
    if let Some(account) = account {
        account.become_it(&orders.work_dir)?;
        orders.environment = with_variables(orders.environment, account.variables());
    }
    env::set_current_dir(&orders.work_dir).map_err(|error| Failure {
        step: LaunchStep::WorkDir,
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })?;
    Ok(orders)
}

/// Makes these bytes the standard input. They are in memory, so the program needs no reader and no writer to get them.
fn give_input(bytes: &[u8]) -> Result<(), Errno> {
    let file = File::from(rustix::fs::memfd_create("input", MemfdFlags::CLOEXEC)?);
    let written = (&file).write_all(bytes);
    written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    rustix::stdio::dup2_stdin(&file)
}

fn execute(orders: Orders, daemon: &mut UnixStream) -> Result<Infallible, Failure> {
    let Orders { binary, args, environment, attributes, .. } = orders;
    let text = |text: OsString| at(LaunchStep::Execute, CString::new(text.into_vec()).map_err(|_| Errno::INVAL));
    let program = text(binary.into_os_string())?;
    let args: Vec<CString> =
        [Ok(program.clone())].into_iter().chain(args.into_iter().map(text)).collect::<Result<_, _>>()?;
    let environment: Vec<CString> = environment.into_iter().map(text).collect::<Result<_, _>>()?;
    attributes::limit_address_space(&attributes)?;
    announce(daemon)?;
    // Not execvp: that runs a damaged program as a shell script.
    let Err(errno) = nix::unistd::execve(&program, &args, &environment);
    Err(Failure { step: LaunchStep::Execute, errno: Errno::from_raw_os_error(errno as i32) })
}

/// Says that the program is executed next. A daemon that is gone cannot record the start, so the program must not run.
pub(super) fn announce(daemon: &mut UnixStream) -> Result<(), Failure> {
    let answered = daemon.write_all(&Reply::executing(geteuid().as_raw()));
    at(LaunchStep::Orders, answered.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::PIPE)))
}

/// Empties the mask, and resets every disposition that the daemon inherited as ignored.
///
/// The kernel resets a signal with a handler when the program is executed, and an ignored one it does not. SIGILL, SIGFPE and
/// SIGSEGV cannot be given a handler without `unsafe`.
fn reset_signals() -> Result<(), Errno> {
    let ignored = ignored().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOSYS))?;
    let caught = Arc::new(AtomicBool::new(false));
    for signal in 1..=64 {
        let is_ignored = ignored >> (signal - 1) & 1 == 1;
        if is_ignored && !signal_hook::consts::FORBIDDEN.contains(&signal) {
            // glibc keeps 32 and 33 for its threads, and refuses them.
            let _ = signal_hook::flag::register(signal, Arc::clone(&caught));
        }
    }
    SigSet::empty().thread_set_mask().map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

pub(super) fn at<T>(step: LaunchStep, done: Result<T, Errno>) -> Result<T, Failure> {
    done.map_err(|errno| Failure { step, errno })
}
