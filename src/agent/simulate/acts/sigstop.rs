//! `sigstop`.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::thread;

use rustix::process::{PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{ActInfo, Begin, Behaviour, Timing};
use crate::agent::simulate::child;
use crate::agent::simulate::plan::Step;
use crate::agent::simulate::state::Held;

pub(super) const INFO: ActInfo = ActInfo {
    name: "sigstop",
    sentence: "The process stops itself with SIGSTOP. With `for`, a child continues it after that time.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The process stops itself with SIGSTOP. With `for`, a child continues it after that time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sigstop {}

impl Behaviour for Sigstop {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        if begin.step.lasts.is_some() {
            child::spawn(begin, &mut child::command(begin)?)?;
        }
        kill_process(getpid(), Signal::STOP)?;
        Ok(None)
    }

    /// Continues the parent. A descriptor of it cannot mean a later process with the same pid.
    fn child(&self, step: &Step, _: &[OsString]) -> ExitCode {
        let parent = getppid().and_then(|parent| pidfd_open(parent, PidfdFlags::empty()).ok());
        thread::sleep(step.lasts.unwrap_or_default());
        match parent.map(|parent| pidfd_send_signal(parent, Signal::CONT)) {
            Some(Ok(())) => ExitCode::SUCCESS,
            Some(Err(_)) | None => ExitCode::FAILURE,
        }
    }
}
