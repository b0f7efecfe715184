//! What the daemon reads in the configuration file of an agent: its ID and the interval of its heartbeats.

use std::path::Path;
use std::time::Duration;

use ops_runtime::small_file;

use super::numbers::Time;
use super::raw::Raw;
use super::values::{AgentIdentifier, HOUR, SHORTEST, ValueType as _};
use super::yaml;

/// The file of an agent of this project, or of the Go agent.
#[derive(Debug, Clone)]
pub(super) struct AgentFile {
    /// `None`: the file cannot be read, or sets no valid ID.
    pub(super) agent_id: Option<String>,
    /// `None`: the file cannot be read, or does not set it.
    pub(super) heartbeat_interval: Option<Duration>,
}

/// How to read the files of agents.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgentFiles {
    read: fn(&Path) -> AgentFile,
    /// Whether the files of all agents are read, and not only the one that gives an ID.
    of_all: bool,
}

impl AgentFiles {
    /// No file is read.
    pub(super) const UNREAD: Self = Self { read: |_| AgentFile::unknown(), of_all: false };

    /// Only the file that gives an ID is read. Blocks on the disk.
    pub(super) const FOR_THE_ID: Self = Self { read: AgentFile::read, of_all: false };

    /// All files are read. Blocks on the disk.
    pub(super) const ALL: Self = Self { read: AgentFile::read, of_all: true };

    /// The file that gives the ID of the only agent.
    pub(super) fn of_the_only_agent(self, path: &Path) -> AgentFile {
        (self.read)(path)
    }

    /// Whether the files of all agents are read and checked, as `validate` does.
    pub(super) const fn are_checked(self) -> bool {
        self.of_all
    }

    /// The file of one of many agents, if the files of all are read.
    pub(super) fn of_each(self, path: &Path) -> Option<AgentFile> {
        self.of_all.then(|| (self.read)(path))
    }
}

impl AgentFile {
    const fn unknown() -> Self {
        Self { agent_id: None, heartbeat_interval: None }
    }

    /// Reads what it can. The agent itself reports what is wrong with its file.
    fn read(path: &Path) -> Self {
        Self::read_valid(path).unwrap_or_else(Self::unknown)
    }

    fn read_valid(path: &Path) -> Option<Self> {
        let bytes = small_file::read(path, yaml::AGENT.bytes()).ok()??;
        let source = yaml::decode("", &bytes, yaml::AGENT).ok()?;
        let root = yaml::read(&source, yaml::AGENT).0?;
        let value = |key: &str| root.find(key).map(|(_, node)| Raw::Node(node));
        let interval = value("heartbeat.interval").or_else(|| value("heartbeat_interval"));
        let interval = interval.and_then(|raw| Time(SHORTEST, HOUR).read(&raw).ok());
        Some(Self {
            agent_id: value("agent_id").and_then(|raw| AgentIdentifier.read(&raw).ok()),
            heartbeat_interval: interval,
        })
    }
}
