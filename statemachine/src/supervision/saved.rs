//! The part of the machine that outlives the daemon.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::exit::{Exit, LastExit};
use super::identity::{BootId, Identity};
use super::machine::Supervised;
use super::policy::Policy;
use super::reason::{ReasonCode, RecordedReason};
use super::transition::State;
use crate::time::Now;

/// What the next daemon needs to continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The state.
    pub state: State,
    /// When it entered the state, on the wall clock.
    pub since: SystemTime,
    /// Why.
    pub cause: String,
    /// Whether it is meant to run.
    pub wanted: bool,
    /// Its process.
    pub process: Option<Identity>,
    /// The number of restarts in a row.
    pub retries: u32,
    /// The number of restarts in all.
    pub restarts: u64,
    /// What its exit will mean.
    pub ending: Ending,
    /// How its main process ended, if other processes of the tree are left.
    #[serde(default)]
    pub main_exit: Option<Exit>,
    /// The main process of a tree that SIGKILL did not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remainder: Option<Identity>,
    /// Why it was last started, stopped, restarted or not restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RecordedReason>,
    /// The number of restarts for each reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts_by_reason: BTreeMap<ReasonCode, u64>,
    /// How its latest process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// The deadline of the state, on the monotonic clock of the same boot.
    pub deadline: Option<Duration>,
}

/// What causes the exit of a process, which decides what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The process itself.
    Own,
    /// A requested restart: no failure, no wait. `Asked` is its name in saved registries.
    #[serde(rename = "Asked")]
    Requested,
    /// The daemon, for a bad check: a failure, regardless of the exit code.
    Condemned,
    /// The daemon could not start it: a wait that does not count as a retry.
    DaemonsFault,
    /// The program itself, which went to the background: no restart.
    Daemonized,
}

impl Supervised {
    /// The machine as an earlier daemon left it. `boot` is the present boot, `saved_in` the boot in which it was saved. After a
    /// reboot processes and deadlines are void, and only a requested stop still counts.
    ///
    /// If it [has a process](State::has_process), the caller searches for it, and reports [`Adopted`](super::Input::Adopted) or
    /// [`Vanished`](super::Input::Vanished) before anything else.
    #[must_use]
    pub fn restore(now: Now, policy: Policy, saved: Saved, boot: BootId, saved_in: BootId) -> Self {
        let mut machine = Self::new(now, policy);
        machine.wanted = saved.wanted;
        machine.restarts = saved.restarts;
        machine.restarts_by_reason = saved.restarts_by_reason;
        machine.last_exit = saved.last_exit;
        machine.reason = saved.reason;
        if boot == saved_in {
            machine.state = saved.state;
            machine.since.wall = saved.since;
            machine.cause = saved.cause;
            machine.process = saved.process;
            machine.retries = saved.retries;
            machine.ending = saved.ending;
            machine.main_exit = saved.main_exit;
            machine.remainder = saved.remainder;
            // What fell due while no daemon ran is due now.
            machine.deadline = saved.deadline.map(|at| at.max(now.monotonic));
        } else {
            machine.cause = if saved.wanted { "the host was rebooted".to_owned() } else { saved.cause };
        }
        machine
    }

    /// What the next daemon needs to continue.
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
            main_exit: self.main_exit,
            remainder: self.remainder,
            reason: self.reason.clone(),
            restarts_by_reason: self.restarts_by_reason.clone(),
            last_exit: self.last_exit,
            deadline: self.deadline,
        }
    }
}
