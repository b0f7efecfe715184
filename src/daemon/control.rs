//! What the receivers ask of the daemon: the one thing between sockets and the registry.

use std::fmt;
use std::future::Future;

use super::registry::{HeartbeatFacts, Rejected, UnknownAgent};
use ops_protocol::Command;
use ops_protocol::heartbeat::{ReceivedHeartbeat, WireStatus};
use ops_protocol::views::{AgentView, DaemonHealth};

/// Where heartbeats are handed in, and where one asks about agents.
///
/// All of it is memory only: nobody who asks waits for a disk or for an agent. What a wish leads to happens later.
pub trait ControlApi: 'static {
    /// Takes a heartbeat. `agent_id` is `None` for one that does not name its agent: the pid tells whose it is.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if it is not of an agent's present process.
    fn heartbeat(&self, agent_id: Option<&str>, heartbeat: &HeartbeatFacts) -> Result<(), Rejected>;

    /// All agents, by id.
    fn agents(&self) -> Vec<AgentView>;

    /// One agent.
    fn agent(&self, id: &str) -> Option<AgentView>;

    /// Takes a wish to be carried out; `by` is who has it, for the agent's history.
    ///
    /// # Errors
    ///
    /// [`Declined`] if nobody is called that, or it makes no sense now.
    fn control(&self, id: &str, command: Command, by: &str) -> Result<(), Declined>;

    /// Where the agents that have an HTTP endpoint have it.
    fn endpoints(&self) -> Vec<Endpoint>;

    /// How the daemon itself fares.
    fn health(&self) -> DaemonHealth;

    /// The last lines of what an agent has written, oldest first. The only answer that may take a while.
    ///
    /// # Errors
    ///
    /// [`Declined`] if nobody is called that, or the file cannot be read.
    fn logs(&self, id: &str, lines: usize) -> impl Future<Output = Result<Vec<String>, Declined>>;
}

/// Why something that was asked for is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declined {
    /// Nobody is called that.
    UnknownAgent,
    /// It makes no sense as things stand: the fact, and what to do.
    NotNow(String),
    /// It went wrong: the fact, and what to do.
    Failed(String),
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAgent => UnknownAgent.fmt(f),
            Self::NotNow(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Declined {}

impl From<UnknownAgent> for Declined {
    fn from(_: UnknownAgent) -> Self {
        Self::UnknownAgent
    }
}

/// Where an agent answers HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whose.
    pub agent_id: String,
    /// The URL that its health is asked at.
    pub url: String,
}

impl From<&ReceivedHeartbeat> for HeartbeatFacts {
    fn from(received: &ReceivedHeartbeat) -> Self {
        Self { pid: received.pid, incarnation: received.incarnation, degraded: received.status == WireStatus::Error }
    }
}
