//! The interface between the APIs and the registry.

use std::future::Future;
use std::time::Duration;

use statemachine::supervision::State;

use super::effects::Description;
use super::processes::NamedSignal;
pub(crate) use super::processes::{LogPosition, NewOutput};
use super::registry::{AgentId, HeartbeatFacts, Notification, Proof, Rejected, UnknownAgent};
use ops_protocol::Command;
use ops_protocol::heartbeat::{ReceivedHeartbeat, WireStatus};
use ops_protocol::views::{AgentView, DaemonHealth, ReloadView};

/// Takes heartbeats and commands, and answers queries about agents.
///
/// Every answer except those of [`ControlApi::logs`], [`ControlApi::new_output`] and [`ControlApi::reload`] comes from memory, so
/// no caller waits for a disk or an agent. A command takes effect after it is answered.
pub trait ControlApi: 'static {
    /// Takes a heartbeat. Without an `agent_id`, the sender identifies the agent.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if it does not come from the agent's present process tree.
    fn heartbeat(&self, heartbeat: &ReceivedHeartbeat, sender: &HeartbeatSender<'_>) -> Result<(), Rejected>;

    /// The IDs of all agents, sorted.
    fn agent_ids(&self) -> Vec<AgentId>;

    /// One agent.
    fn agent(&self, id: &str) -> Option<AgentView>;

    /// Queues a command. `by` identifies the requester in the agent's history.
    ///
    /// # Errors
    ///
    /// [`Declined`] if the agent is unknown, or the command does not fit the present state.
    fn control(&self, id: &str, order: Order, by: &str) -> Result<(), Declined>;

    /// Sends a signal to the main process of an agent. What follows from it is up to the process.
    ///
    /// # Errors
    ///
    /// [`Declined`] if the agent is unknown, has no process, or cannot be signalled.
    fn signal(&self, id: &str, signal: NamedSignal, by: &str) -> Result<(), Declined>;

    /// Where Prometheus finds the metrics of an agent, if it exposes some and is meant to run.
    fn scrape_target(&self, id: &str) -> Option<ScrapeTarget>;

    /// Takes what the process with this pid has said on the socket of an agent. It has no effect unless the process is a member of
    /// the agent's present tree.
    fn notify(&self, id: &str, pid: u32, said: Notification);

    /// The daemon's own health.
    fn health(&self) -> DaemonHealth;

    /// What the daemon's loop has done so far.
    fn counts(&self) -> LoopCounts;

    /// Reads the configuration again and applies it. Waits for the result. `by` identifies the requester.
    ///
    /// # Errors
    ///
    /// [`ReloadRefused`] if nothing was changed.
    fn reload(&self, by: &str) -> impl Future<Output = Result<ReloadView, ReloadRefused>>;

    /// The last output lines of an agent, oldest first. Reads a file.
    ///
    /// # Errors
    ///
    /// [`Declined`] if the agent is unknown, or the file cannot be read.
    fn logs(&self, id: &str, lines: usize) -> impl Future<Output = Result<Vec<String>, Declined>>;

    /// The output of an agent since `position`, or its last `lines` lines without one. Reads a file.
    ///
    /// # Errors
    ///
    /// [`Declined`] if the agent is unknown, or the file cannot be read.
    fn new_output(
        &self,
        id: &str,
        position: Option<LogPosition>,
        lines: usize,
    ) -> impl Future<Output = Result<NewOutput, Declined>>;
}

/// A command with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The command.
    pub command: Command,
    /// A stop stops the agents that depend on this one first. Without it, a stop is refused while they run.
    pub with_dependents: bool,
}

impl From<Command> for Order {
    fn from(command: Command) -> Self {
        Self { command, with_dependents: false }
    }
}

/// What the daemon's loop has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoopCounts {
    /// Transitions of agents.
    pub transitions: u64,
    /// Events that could not happen. Each is a bug, and logged.
    pub refused_events: u64,
    /// Saves of the registry that are durable.
    pub saves: u64,
    /// Saves that failed.
    pub failed_saves: u64,
}

/// Why a command or query is declined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// No agent has this ID.
    #[error(transparent)]
    UnknownAgent(#[from] UnknownAgent),
    /// The command does not fit the present state: the fact, and what to do.
    #[error("{0}")]
    NotNow(String),
    /// It failed: the fact, and what to do.
    #[error("{0}")]
    Failed(String),
}

/// How many requests may wait for one reload.
pub(crate) const RELOADS_WAITING: usize = 64;

/// Why a reload changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadRefused {
    /// The configuration is wrong, or changes what only a new daemon reads.
    #[error("{0}")]
    Config(String),
    /// The configuration could not be read or applied now.
    #[error("{0}")]
    Failed(String),
    /// Too many requests wait.
    #[error("{RELOADS_WAITING} reloads wait already: try again later")]
    Busy,
    /// The daemon is ending.
    #[error("the daemon is ending: start it again")]
    Ending,
    /// The result did not come in time. The reload may still succeed.
    #[error("no result within {0:?}: the log will show it")]
    NoResult(Duration),
}

impl Declined {
    /// No agent has this ID.
    #[must_use]
    pub fn unknown(id: &str) -> Self {
        Self::UnknownAgent(UnknownAgent::new(id))
    }
}

/// An agent as a target of Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeTarget {
    /// The agent.
    pub agent_id: String,
    /// Its state.
    pub state: State,
    /// What the configuration says about it.
    pub description: Description,
}

/// What is known of the sender of a heartbeat, apart from what the heartbeat says.
#[derive(Debug, Clone, Copy)]
pub struct HeartbeatSender<'a> {
    /// The start secret that it presents.
    pub secret: Option<&'a str>,
    /// Who it is.
    pub peer: Peer,
}

/// The peer of a connection, as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A process on this host, over the Unix socket.
    Process {
        /// Its pid. `None`: it is in another PID namespace that this one cannot see.
        pid: Option<u32>,
        /// Whether it is root or the daemon's user, who may speak for any agent.
        is_owner: bool,
    },
    /// Some process on this host, over TCP.
    Local,
    /// Another host.
    Remote,
}

impl Peer {
    /// Its pid, where the kernel tells it.
    #[must_use]
    pub const fn pid(self) -> Option<u32> {
        match self {
            Self::Process { pid, .. } => pid,
            Self::Local | Self::Remote => None,
        }
    }
}

impl HeartbeatFacts {
    /// The facts of a received heartbeat, and how well they are proved.
    #[must_use]
    pub fn of(received: &ReceivedHeartbeat, proof: Proof) -> Self {
        let ReceivedHeartbeat { pid, incarnation, status, .. } = *received;
        Self { pid, incarnation, degraded: status == WireStatus::Error, proof }
    }
}
