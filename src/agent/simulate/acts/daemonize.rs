//! `daemonize`.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{self, Command, ExitCode};
use std::thread;
use std::time::Duration;

use rustix::process::setsid;
use serde::{Deserialize, Serialize};

use super::{ActInfo, Begin, Behaviour, Timing};
use crate::agent::simulate::child;
use crate::agent::simulate::evidence::EvidenceEvent;
use crate::agent::simulate::plan::Step;
use crate::agent::simulate::state::Held;
use ops_runtime::clock;
use ops_runtime::observe::Stat;

/// How long the parent may take to end.
const PARENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the copy looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

pub(super) const INFO: ActInfo = ActInfo {
    name: "daemonize",
    sentence: "The agent starts itself again in a session of its own, and exits with 0. The copy is the next life.",
    parameters: &[],
    timing: Timing::Once,
};

/// The agent starts itself again in a session of its own, and exits with 0. The copy is the next life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Daemonize {}

impl Behaviour for Daemonize {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        let mut command = child::command(begin)?;
        command.arg(process::id().to_string()).args(env::args_os());
        child::spawn(begin, &mut command)?;
        begin.simulation.note(EvidenceEvent::Exit { code: 0 });
        process::exit(0);
    }

    /// Waits until the parent has ended, so that port and lock are free, and becomes the agent.
    fn child(&self, _: &Step, args: &[OsString]) -> ExitCode {
        let [parent, name, args @ ..] = args else { return ExitCode::FAILURE };
        let Some(parent) = parent.to_str().and_then(|pid| pid.parse().ok()) else { return ExitCode::FAILURE };
        let until = clock::monotonic() + PARENT_TIMEOUT;
        while Stat::of_living(parent).is_some() && clock::monotonic() < until {
            thread::sleep(LOOK_AGAIN);
        }
        if setsid().is_err() {
            return ExitCode::FAILURE;
        }
        let Ok(program) = env::current_exe() else { return ExitCode::FAILURE };
        // It returns only if it fails.
        let _ = Command::new(program).arg0(name).args(args).exec();
        ExitCode::FAILURE
    }
}
