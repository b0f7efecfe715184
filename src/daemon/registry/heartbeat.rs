//! Which heartbeats are accepted. A stray copy cannot keep a dead agent alive.

use std::fmt;

use statemachine::time::Now;

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
    /// How well it proves that the agent's present tree sent it.
    pub proof: Proof,
}

/// How well a heartbeat proves that a process of the agent's present tree sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It has the secret of the start, or the kernel says that the sender is in the tree or may speak for it.
    Proved,
    /// It comes from this host and names a process of the tree, which any local user can do.
    Named,
    /// Neither.
    Nothing,
}

/// Why a heartbeat is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// There is no agent with this ID: 400 `INVALID_AGENT_ID`.
    UnknownAgent,
    /// The sender is not in the agent's process tree: 409.
    WrongPid {
        /// The pid that the sender names.
        got: u32,
        /// The pid of the agent's main process, if there is one.
        want: Option<u32>,
    },
    /// It names a process of the agent, but does not prove that the agent sent it: 409.
    Unproved {
        /// The pid that the sender names.
        got: u32,
    },
    /// A later start of the agent has sent a heartbeat: 409.
    Outdated {
        /// The incarnation of the sender.
        got: u64,
        /// The newest incarnation.
        newest: u64,
    },
}

impl Rejected {
    /// The names of the reasons, for metrics and programs.
    pub const NAMES: [&'static str; 5] = ["unknown_agent", "wrong_process", "not_running", "unproved", "outdated"];

    /// The place of the reason in [`Self::NAMES`].
    pub(super) const fn index(self) -> usize {
        match self {
            Self::UnknownAgent => 0,
            Self::WrongPid { want: Some(_), .. } => 1,
            Self::WrongPid { want: None, .. } => 2,
            Self::Unproved { .. } => 3,
            Self::Outdated { .. } => 4,
        }
    }

    /// The name of the reason.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
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
            Self::Unproved { got } => write!(
                f,
                "nothing proves that pid {got} sent this: send the value of OPS_AGENT_START_SECRET in the header Ops-Start-Secret"
            ),
            Self::Outdated { got, newest } => {
                write!(f, "incarnation {got} is over, {newest} has begun: stop the stray copy")
            }
        }
    }
}

impl std::error::Error for Rejected {}

impl Entry {
    /// Accepts or refuses a heartbeat in the agent's name.
    pub(super) fn accept(&mut self, now: Now, heartbeat: &HeartbeatFacts) -> Result<(), Rejected> {
        let verdict = self.evaluate(heartbeat);
        match (verdict, &mut self.evidence) {
            (Ok(()), Some(evidence)) => {
                if heartbeat.proof == Proof::Proved {
                    self.newest_incarnation = heartbeat.incarnation.or(self.newest_incarnation);
                    self.has_proved = true;
                }
                self.heartbeats += 1;
                evidence.on_heartbeat(now.monotonic, heartbeat.degraded);
            }
            (Err(why), _) => self.refused.add(now, heartbeat.pid, why),
            (Ok(()), None) => {}
        }
        verdict
    }

    fn evaluate(&self, heartbeat: &HeartbeatFacts) -> Result<(), Rejected> {
        let (got, want) = (heartbeat.pid, self.machine.process().map(|process| process.pid));
        match heartbeat.proof {
            _ if want.is_none() => Err(Rejected::WrongPid { got, want }),
            Proof::Proved => self.evaluate_incarnation(heartbeat.incarnation),
            // Once the agent has shown that it can prove itself, a heartbeat without proof is not from it.
            Proof::Named if self.has_proved || self.limits.proof_required => Err(Rejected::Unproved { got }),
            Proof::Named => Ok(()),
            Proof::Nothing if want == Some(got) => Err(Rejected::Unproved { got }),
            Proof::Nothing => Err(Rejected::WrongPid { got, want }),
        }
    }

    fn evaluate_incarnation(&self, incarnation: Option<u64>) -> Result<(), Rejected> {
        match (incarnation, self.newest_incarnation) {
            (Some(got), Some(newest)) if got < newest => Err(Rejected::Outdated { got, newest }),
            _ => Ok(()),
        }
    }
}
