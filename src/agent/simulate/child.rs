//! Processes that a simulated agent starts: its own program with a hidden command, the step, and what the act adds.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::thread;

use super::acts::Begin;
use super::evidence::EvidenceEvent;
use super::plan::Step;

/// The argument that marks such a process. It is not for users, so it is in no help.
const ARGUMENT: &str = "simulated-child";

/// Becomes a child of a simulated agent, if the arguments say so. Has to be called early in `main`.
#[must_use]
pub fn become_child(args: &[OsString]) -> Option<ExitCode> {
    let [_, argument, step, rest @ ..] = args else { return None };
    if argument != OsStr::new(ARGUMENT) {
        return None;
    }
    let step: Step = serde_json::from_str(step.to_str()?).ok()?;
    Some(step.act.behaviour().child(&step, rest))
}

/// The command for a child of a step. It inherits standard output and standard error.
///
/// # Errors
///
/// The path of this program is not known.
pub(super) fn command(begin: &Begin<'_>) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = env::args_os().next() {
        command.arg0(name);
    }
    command.arg(ARGUMENT).arg(serde_json::to_string(begin.step)?).stdin(Stdio::null());
    Ok(command)
}

/// Starts a child, and notes it. The agent reaps it as it reaps orphans.
///
/// # Errors
///
/// The system refuses the process.
pub(super) fn spawn(begin: &Begin<'_>, command: &mut Command) -> io::Result<Child> {
    let child = command.spawn()?;
    let act = begin.step.act.info().name.to_owned();
    begin.simulation.note(EvidenceEvent::Child { step: begin.index, act, child: child.id() });
    Ok(child)
}

/// Starts a child that ends when the returned pipe is closed: with the act, or with the agent.
///
/// # Errors
///
/// The system refuses the process.
pub(super) fn spawn_bound(begin: &Begin<'_>) -> io::Result<ChildStdin> {
    let mut child = spawn(begin, command(begin)?.stdin(Stdio::piped()))?;
    child.stdin.take().ok_or_else(|| io::Error::other("the child has no pipe"))
}

/// Ends this process, which [`spawn_bound`] started, with the pipe.
pub(super) fn end_with_parent() {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}
