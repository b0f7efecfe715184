//! The inputs and answers of the registry.

use std::sync::Arc;

use statemachine::supervision::{Effect, Identity, Policy, Refused, Transition};

use crate::daemon::checks::CheckLimits;
use crate::daemon::restart_guard::RestartHold;
use ops_runtime::program;

/// The ID of an agent, shared between its users.
pub type AgentId = Arc<str>;

/// The configuration of one agent, as far as the registry needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredAgent {
    /// The ID.
    pub id: AgentId,
    /// Whether it is meant to run.
    pub enabled: bool,
    /// The agents that have to be Running before it is started.
    pub depends_on: Box<[AgentId]>,
    /// When and how it is restarted.
    pub policy: Policy,
    /// The limits of its checks.
    pub limits: CheckLimits,
    /// A hash over the settings that the process is started with. Another hash means a restart.
    pub fingerprint: u64,
}

/// The effects to perform for one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentAction {
    /// The agent.
    pub id: AgentId,
    /// The process that effects apply to.
    pub process: Option<Identity>,
    /// The effects, in order.
    pub effects: &'static [Effect],
    /// The transition that caused them.
    pub transition: Option<Transition>,
}

/// What follows from an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    /// The actions, in order.
    pub actions: Vec<AgentAction>,
    /// The agents whose checks are due. The results go to [`Registry::on_check_result`](super::Registry::on_check_result).
    pub due: Vec<(AgentId, Identity)>,
    /// Restarts are held from now on. Has to be logged.
    pub hold: Option<RestartHold>,
    /// The agents whose restarts an operator holds from now on.
    pub held: Vec<AgentId>,
    /// Events that cannot happen. A bug, which has to be logged.
    pub refused: Vec<(AgentId, Refused)>,
}

/// There is no agent with this ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no agent {0}: `{program} status` lists all agents", program = program::name())]
pub struct UnknownAgent(String);

impl UnknownAgent {
    /// The length of an ID in the message, in characters. A configured ID is never longer.
    const SHOWN: usize = 64;

    /// An ID from outside: quoted, with control characters escaped, and shortened.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(format!("{:?}", id.chars().take(Self::SHOWN).collect::<String>()))
    }
}
