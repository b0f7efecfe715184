//! Which heartbeats are accepted. A stray copy cannot keep a dead agent alive.

use std::fmt;
use std::time::Duration;

use super::Entry;

/// The facts of a heartbeat that decide anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatFacts {
    /// The pid of the sender.
    pub pid: u32,
    /// The number of the agent's start. `None`: the sender does not count its starts.
    pub incarnation: Option<u64>,
    /// Whether the agent reports that it is degraded.
    pub degraded: bool,
}

/// Why a heartbeat is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// There is no agent with this ID: 400 `INVALID_AGENT_ID`.
    UnknownAgent,
    /// The sender is not the agent's process: 409.
    WrongPid {
        /// The pid of the sender.
        got: u32,
        /// The pid of the agent's process, if there is one.
        want: Option<u32>,
    },
    /// A later start of the agent has sent a heartbeat: 409.
    Outdated {
        /// The incarnation of the sender.
        got: u64,
        /// The newest incarnation.
        newest: u64,
    },
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAgent => f.write_str("invalid agent_id"),
            Self::WrongPid { got, want: Some(want) } => {
                write!(f, "pid {got} is not this agent, whose pid is {want}: stop the stray copy")
            }
            Self::WrongPid { got, want: None } => {
                write!(f, "pid {got} is not this agent, which is not running: stop the stray copy")
            }
            Self::Outdated { got, newest } => {
                write!(f, "incarnation {got} is over, {newest} has begun: stop the stray copy")
            }
        }
    }
}

impl std::error::Error for Rejected {}

impl Entry {
    /// Accepts or refuses a heartbeat in the agent's name.
    pub(super) fn accept(&mut self, now: Duration, heartbeat: &HeartbeatFacts) -> Result<(), Rejected> {
        let verdict = self.evaluate(heartbeat);
        match (verdict, &mut self.evidence) {
            (Ok(()), Some(evidence)) => {
                self.newest_incarnation = heartbeat.incarnation.or(self.newest_incarnation);
                self.heartbeats += 1;
                evidence.on_heartbeat(now, heartbeat.degraded);
            }
            _ => self.rejected += 1,
        }
        verdict
    }

    fn evaluate(&self, heartbeat: &HeartbeatFacts) -> Result<(), Rejected> {
        let want = self.machine.process().map(|process| process.pid);
        if want != Some(heartbeat.pid) {
            return Err(Rejected::WrongPid { got: heartbeat.pid, want });
        }
        match (heartbeat.incarnation, self.newest_incarnation) {
            (Some(got), Some(newest)) if got < newest => Err(Rejected::Outdated { got, newest }),
            _ => Ok(()),
        }
    }
}
