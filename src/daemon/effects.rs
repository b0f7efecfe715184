//! The port through which the event loop acts on the host. A test passes one whose processes die and whose disk hangs.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ops_config::{DaemonChanges, Problems};
use ops_protocol::views::HooksView;

use ops_runtime::logging::LogError;
use statemachine::supervision::{Identity, StopScope, StopSettings};

use super::checks::http::BadEndpoint;
use super::checks::{CheckResult, ScheduledCheck};
use super::control::HeartbeatSender;
use super::hooks::HookFacts;
use super::processes::{LogPosition, MainExit, NamedSignal, NewOutput};
use super::registry::{AgentId, DesiredAgent, Proof, SavedRegistry};
use super::store::SaveError;

/// Performs what the loop decides. An implementation decides nothing and never blocks the loop.
pub trait Effects: 'static {
    /// Saves the registry. Resolves when it is durable, or with the error.
    fn save(self: Rc<Self>, saved: SavedRegistry) -> impl Future<Output = Result<(), SaveError>>;
    /// Starts an agent's main process in a session of its own.
    fn spawn(self: Rc<Self>, id: AgentId) -> impl Future<Output = Result<Identity, NotStarted>>;
    /// Searches again for the tree of an earlier daemon, until it is found or proved to be gone.
    fn find(self: Rc<Self>, search: Unproved) -> impl Future<Output = Option<Identity>>;
    /// Waits for the exit of a main process, and counts what its tree still has. It is reaped by [`Effects::reap`], so its pid is
    /// not reused before that.
    fn main_exited(self: Rc<Self>, main: Identity) -> impl Future<Output = MainExit>;
    /// Waits until no process of a tree is left.
    fn emptied(self: Rc<Self>, main: Identity) -> impl Future<Output = ()>;
    /// Sends the stop signal to all processes of a tree. Does nothing if the tree is gone. Returns what the settings leave
    /// running, for people.
    fn stop(self: Rc<Self>, main: Identity, settings: StopSettings) -> impl Future<Output = Option<String>>;
    /// Kills all processes of a tree. Returns what does not end, for people.
    fn kill(self: Rc<Self>, main: Identity) -> impl Future<Output = Option<String>>;
    /// Sends a signal to a main process on behalf of an operator.
    fn signal(&self, main: Identity, signal: NamedSignal) -> io::Result<()>;
    /// Reaps the main process of a tree that is gone.
    fn reap(&self, main: Identity);
    /// How well the sender of a heartbeat, who names `pid`, proves that it is in this tree. Does not block.
    fn prove(&self, main: Identity, pid: u32, sender: &HeartbeatSender<'_>) -> Proof;
    /// The main process of the tree that the sender of a heartbeat, who names `pid`, is in. Does not block.
    fn tree_of(&self, pid: u32, sender: &HeartbeatSender<'_>) -> Option<Identity>;
    /// Runs one check of a process.
    fn check(
        self: Rc<Self>,
        id: AgentId,
        process: Identity,
        check: ScheduledCheck,
    ) -> impl Future<Output = CheckResult>;
    /// The last output lines of this process of an agent, and of no other one, oldest first.
    fn last_output(
        self: Rc<Self>,
        id: AgentId,
        main: Identity,
        lines: usize,
    ) -> impl Future<Output = Result<Vec<String>, OutputError>>;
    /// The last output lines of an agent, earlier processes included, oldest first.
    fn logs(self: Rc<Self>, id: AgentId, lines: usize) -> impl Future<Output = Result<Vec<String>, OutputError>>;
    /// What the configuration says about an agent, for people and for Prometheus. `None`: it is no longer configured.
    fn describe(&self, id: &str) -> Option<Description>;
    /// The output of an agent since `position`, or its last lines without one.
    fn new_output(
        self: Rc<Self>,
        id: AgentId,
        position: Option<LogPosition>,
        lines: usize,
    ) -> impl Future<Output = Result<NewOutput, OutputError>>;
    /// Reads the configuration and applies it as a whole, or changes nothing.
    fn reload(self: Rc<Self>) -> impl Future<Output = Result<Reloaded, ReloadError>>;
    /// Queues the hooks that are told of these facts. Does not block.
    fn hook(self: Rc<Self>, facts: HookFacts);
    /// What became of the hooks. `None`: there is none.
    fn hooks(&self) -> Option<HooksView>;
    /// Notifies the service manager.
    fn notify(&self, notice: Notice<'_>);
}

/// What the configuration says about an agent, for people and for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The display name.
    pub name: String,
    /// The kind of program, as in the configuration.
    pub kind: &'static str,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The URL at which Prometheus finds its metrics.
    pub metrics_url: Option<String>,
}

/// An agent of which it could not be told whether its process of an earlier daemon is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproved {
    /// The agent.
    pub id: AgentId,
    /// Its process in the registry.
    pub registered: Option<Identity>,
    /// The user that it is configured to run as, if no record of its start tells.
    pub user: Option<u32>,
    /// Which processes its stop concerns.
    pub scope: StopScope,
    /// Why, for people.
    pub why: String,
}

/// Why a process was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStarted {
    /// The fact, and what to do.
    pub reason: String,
    /// Whether the daemon ran out of descriptors, memory or processes.
    pub own_fault: bool,
}

/// A configuration that a reload has applied.
#[derive(Debug)]
pub struct Reloaded {
    /// The agents as they are configured now.
    pub desired: Vec<DesiredAgent>,
    /// What has changed.
    pub changes: DaemonChanges,
    /// The warnings about the configuration.
    pub notes: Vec<String>,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file has problems.
    #[error("{0}")]
    Invalid(Problems),
    /// Keys changed that only a new daemon reads.
    #[error("{}: restart the daemon to change this; its agents keep running", .0.join(", "))]
    NeedsRestart(Vec<String>),
    /// A check cannot be set up as configured.
    #[error(transparent)]
    Check(#[from] CheckSetupError),
    /// The log file cannot be opened.
    #[error(transparent)]
    Log(LogError),
    /// The file could not be read in time.
    #[error("the configuration could not be read within {0:?}: check its disk or network drive")]
    TimedOut(Duration),
    /// No thread can be started to read the file.
    #[error("no thread can be started: raise the limit on processes")]
    Thread(#[source] io::Error),
}

/// A check of an agent cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
#[error("agent {id}: {problem}")]
pub struct CheckSetupError {
    /// The agent.
    pub id: String,
    /// The fact, and what to do.
    pub problem: BadEndpoint,
}

/// Why the output of an agent cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The agent was removed from the configuration.
    #[error("the agent is no longer configured: its log is still in its work_dir")]
    NotConfigured,
    /// The log cannot be read.
    #[error("the log in {} cannot be read: {error}", .directory.display())]
    Unreadable {
        /// The directory of the log.
        directory: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// A notification to the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The daemon works; the states of its agents in one line.
    Working(&'a str),
    /// A reload begins. The next [`Notice::Working`] ends it.
    Reloading,
    /// The daemon is ending; what it leaves in one line.
    Stopping(&'a str),
    /// The loop is alive.
    Alive,
}
