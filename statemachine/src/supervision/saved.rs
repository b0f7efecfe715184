//! What outlives the daemon.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::identity::{BootId, Identity};
use super::machine::Supervised;
use super::policy::Policy;
use super::transition::State;
use crate::time::Now;

/// What has to outlive the daemon, for the next one to go on where this one was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Where it was.
    pub state: State,
    /// Since when, on the wall clock.
    pub since: SystemTime,
    /// Why.
    pub cause: String,
    /// Whether it is to run.
    pub wanted: bool,
    /// Its process.
    pub process: Option<Identity>,
    /// How often it was started again in a row.
    pub retries: u32,
    /// How often it was started again at all.
    pub restarts: u64,
    /// What its end will mean.
    pub ending: Ending,
    /// The deadline of the state, on the monotonic clock of the same boot.
    pub deadline: Option<Duration>,
}

/// Who or what is behind the end of a process, which decides what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The process itself.
    Own,
    /// Somebody who asked for a restart: no failure, no wait.
    SignalRequest,
    /// The daemon, because the process was bad: a failure, whatever the exit code says.
    Condemned,
    /// The daemon, which could not even start it: a wait, but none that counts.
    DaemonsFault,
}

impl Supervised {
    /// A machine where an earlier daemon left it. `boot` is the present boot, `saved_in` the one that was saved in: after
    /// a reboot no process and no deadline of before is left, and only a stop that was asked for still counts.
    ///
    /// If it [has a process](State::has_process), the driver looks for that and says [`Adopted`](super::Input::Adopted) or
    /// [`Vanished`](super::Input::Vanished) before anything else.
    #[must_use]
    pub fn restore(now: Now, policy: Policy, saved: Saved, boot: BootId, saved_in: BootId) -> Self {
        let mut machine = Self::new(now, policy);
        machine.wanted = saved.wanted;
        machine.restarts = saved.restarts;
        if boot == saved_in {
            machine.state = saved.state;
            machine.since.wall = saved.since;
            machine.cause = saved.cause;
            machine.process = saved.process;
            machine.retries = saved.retries;
            machine.ending = saved.ending;
            // What fell due while no daemon ran is due now: this one is not late.
            machine.deadline = saved.deadline.map(|at| at.max(now.monotonic));
        } else {
            machine.cause = if saved.wanted { "the host was started again".to_owned() } else { saved.cause };
        }
        machine
    }

    /// What has to outlive the daemon.
    #[must_use]
    pub fn save(&self) -> Saved {
        Saved {
            state: self.state,
            since: self.since.wall,
            cause: self.cause.clone(),
            wanted: self.wanted,
            process: self.process,
            retries: self.retries,
            restarts: self.restarts,
            ending: self.ending,
            deadline: self.deadline,
        }
    }
}
