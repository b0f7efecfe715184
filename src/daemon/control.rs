//! The interface between the APIs and the registry.

use std::future::Future;

use super::registry::{HeartbeatFacts, Rejected, UnknownAgent};
use ops_protocol::Command;
use ops_protocol::heartbeat::{ReceivedHeartbeat, WireStatus};
use ops_protocol::views::{AgentView, DaemonHealth};

/// Takes heartbeats and commands, and answers queries about agents.
///
/// Every answer except [`ControlApi::logs`] comes from memory, so no caller waits for a disk or an agent. A command
/// takes effect after it is answered.
pub trait ControlApi: 'static {
    /// Takes a heartbeat. If `agent_id` is `None`, the pid identifies the agent.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the sender is not the agent's current process.
    fn heartbeat(&self, agent_id: Option<&str>, heartbeat: &HeartbeatFacts) -> Result<(), Rejected>;

    /// All agents, sorted by ID.
    fn agents(&self) -> Vec<AgentView>;

    /// One agent.
    fn agent(&self, id: &str) -> Option<AgentView>;

    /// Queues a command. `by` identifies the requester in the agent's history.
    ///
    /// # Errors
    ///
    /// [`Declined`] if the agent is unknown, or the command does not fit the present state.
    fn control(&self, id: &str, command: Command, by: &str) -> Result<(), Declined>;

    /// The HTTP endpoints of the agents that have one.
    fn endpoints(&self) -> Vec<Endpoint>;

    /// The daemon's own health.
    fn health(&self) -> DaemonHealth;

    /// The last output lines of an agent, oldest first. Reads a file.
    ///
    /// # Errors
    ///
    /// [`Declined`] if the agent is unknown, or the file cannot be read.
    fn logs(&self, id: &str, lines: usize) -> impl Future<Output = Result<Vec<String>, Declined>>;
}

/// Why a command or query is declined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// No agent has this ID.
    #[error("{UnknownAgent}")]
    UnknownAgent,
    /// The command does not fit the present state: the fact, and what to do.
    #[error("{0}")]
    NotNow(String),
    /// It failed: the fact, and what to do.
    #[error("{0}")]
    Failed(String),
}

impl From<UnknownAgent> for Declined {
    fn from(_: UnknownAgent) -> Self {
        Self::UnknownAgent
    }
}

/// The HTTP endpoint of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The agent.
    pub agent_id: String,
    /// The URL that the HTTP check requests.
    pub url: String,
}

impl From<&ReceivedHeartbeat> for HeartbeatFacts {
    fn from(received: &ReceivedHeartbeat) -> Self {
        Self { pid: received.pid, incarnation: received.incarnation, degraded: received.status == WireStatus::Error }
    }
}
