//! Runs the program of a check as a child, and ends everything that it has started.
//!
//! The launcher is the reaper of orphans below it, so whatever the program starts stays its descendant. When the program has
//! ended, or when the daemon closes the socket or dies, it kills its children until there are none. Those of a killed process
//! become its own, so no search is needed.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_open, waitid};

use super::super::main_process::exit_of;
use super::prepare::{announce, at};
use super::{Failure, LaunchStep, Orders, Reply};
use ops_runtime::orphans;

/// Runs the program, reports how it ended, and ends what it has left.
pub(super) fn run(orders: Orders, daemon: &mut UnixStream) -> Result<(), Failure> {
    let Orders { binary, args, environment, .. } = orders;
    announce(daemon)?;
    let mut command = Command::new(binary);
    command.args(args).env_clear().envs(environment.iter().filter_map(name_and_value));
    let child = command.spawn().map_err(|error| failed(&error))?;
    let ended = wait(child.id(), daemon);
    if let Ok(Some(status)) = &ended {
        // A daemon that is gone does not want to know.
        let _ = daemon.write_all(&Reply::ended(exit_of(status))).and_then(|()| daemon.shutdown(Shutdown::Write));
    }
    end_children();
    at(LaunchStep::Execute, ended.map(drop))
}

fn failed(error: &io::Error) -> Failure {
    Failure { step: LaunchStep::Execute, errno: Errno::from_io_error(error).unwrap_or(Errno::IO) }
}

fn name_and_value(variable: &OsString) -> Option<(&OsStr, &OsStr)> {
    let bytes = variable.as_bytes();
    let (name, value) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == b'=')?)?;
    Some((OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..)?)))
}

/// Waits until the program ends. `None`: the daemon has hung up before.
fn wait(pid: u32, daemon: &UnixStream) -> Result<Option<WaitIdStatus>, Errno> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let program = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        // The end of the orders is readable for ever, so only a hang-up counts.
        let mut either = [PollFd::new(&program, PollFlags::IN), PollFd::new(daemon, PollFlags::empty())];
        retry_on_intr(|| poll(&mut either, None))?;
        let [program, daemon] = &either;
        if !program.revents().is_empty() {
            return retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED));
        }
        if !daemon.revents().is_empty() {
            return Ok(None);
        }
    }
}

/// Kills the children until there are none.
fn end_children() {
    while let Ok(children) = orphans::adopted() {
        for child in &children {
            if let Some(child) = i32::try_from(*child).ok().and_then(Pid::from_raw) {
                // One of another user is left to the daemon.
                let _ = kill_process(child, Signal::KILL);
            }
        }
        if retry_on_intr(|| waitid(WaitId::All, WaitIdOptions::EXITED)).is_err() {
            return;
        }
    }
}
