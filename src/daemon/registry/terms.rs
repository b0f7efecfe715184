//! What the registry is told, and what it answers with.

use std::fmt;
use std::sync::Arc;

use statemachine::supervision::{Effect, Identity, Policy, Refused, Transition};

use crate::daemon::checks::CheckLimits;
use crate::daemon::restart_guard::RestartHold;

/// Who an agent is, shared by whoever speaks of it.
pub type AgentId = Arc<str>;

/// What the configuration says of one agent, as far as the core has to know it.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredAgent {
    /// Who.
    pub id: AgentId,
    /// Whether it is to run.
    pub enabled: bool,
    /// When and how it is restarted.
    pub policy: Policy,
    /// What is looked at.
    pub limits: CheckLimits,
    /// A hash over everything that the process is started with and judged by: another one means a restart.
    pub fingerprint: u64,
}

/// What is to be done for one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentAction {
    /// For whom.
    pub id: AgentId,
    /// Which process signals go to, and which one is swept up after.
    pub process: Option<Identity>,
    /// What, in order.
    pub effects: &'static [Effect],
    /// The move behind it, to be logged and shown.
    pub transition: Option<Transition>,
}

/// What follows from something that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    /// What is to be done, in order.
    pub actions: Vec<AgentAction>,
    /// Whose checks are due. Each is carried out beside the loop, with a deadline, and reported with [`Registry::checked`](super::Registry::checked).
    pub due: Vec<(AgentId, Identity)>,
    /// Restarts are held from now on: to be said aloud.
    pub hold: Option<RestartHold>,
    /// What cannot have happened: a bug, to be logged.
    pub refused: Vec<(AgentId, Refused)>,
}

/// Nobody is called that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownAgent;

impl fmt::Display for UnknownAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no agent has this id: `daemon status` lists them")
    }
}

impl std::error::Error for UnknownAgent {}
