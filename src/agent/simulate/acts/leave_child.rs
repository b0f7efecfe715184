//! `leave_child`.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, setsid};
use serde::{Deserialize, Serialize};

use super::{ActInfo, Begin, Behaviour, Parameter, Timing};
use crate::agent::simulate::child;
use crate::agent::simulate::plan::Step;
use crate::agent::simulate::state::Held;

/// How long a child lives that is not ended.
const LIFETIME: Duration = Duration::from_secs(600);

pub(super) const INFO: ActInfo = ActInfo {
    name: "leave_child",
    sentence: "A child is started that outlives the agent, for ten minutes at most. A `for` ends it earlier if the \
               agent still runs.",
    parameters: &[Parameter { name: "how", values: "`group`, `session`, `port`", default: "" }],
    timing: Timing::Lasts,
};

/// A child is started that outlives the agent, for ten minutes at most. A `for` ends it earlier if the agent still
/// runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveChild {
    /// What ties it to the agent: the process group, nothing (a session of its own), or the listener.
    pub how: Left,
}

/// What ties a child to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// It is in the agent's process group.
    Group,
    /// Nothing: it is in a session of its own.
    Session,
    /// It holds the agent's listener, so that no other process can bind the port.
    Port,
}

impl Behaviour for LeaveChild {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        let mut command = child::command(begin)?;
        if self.how == Left::Port {
            // The standard input of the child is the listener.
            command.stdin(OwnedFd::from(begin.simulation.listener()?));
        }
        let child = child::spawn(begin, &mut command)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        let started = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(begin.step.lasts.map(|_| Box::new(Started(started)) as Held))
    }

    fn child(&self, _: &Step, _: &[OsString]) -> ExitCode {
        if self.how == Left::Session && setsid().is_err() {
            return ExitCode::FAILURE;
        }
        thread::sleep(LIFETIME);
        ExitCode::SUCCESS
    }
}

/// The child, which ends with the act.
struct Started(OwnedFd);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}
