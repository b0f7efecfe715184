//! The faults of an agent. Each has a name, a start time and an exit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Now;

/// What can be wrong with an agent that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum FaultName {
    /// `failure_threshold` heartbeats in a row were not acknowledged. Exit: `recovery_threshold` in a row are.
    Heartbeat,
    /// The HTTP listener cannot accept connections. Exit: it can again.
    Http,
    /// The agent cannot read its own CPU and memory use. Exit: the next sample that succeeds.
    Resources,
    /// The status file could not be written, or not in time. Exit: the next write that succeeds in time.
    StatusFile,
}

impl FaultName {
    /// The name on the wire and in the status file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Http => "http",
            Self::Resources => "resources",
            Self::StatusFile => "status_file",
        }
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When it was raised.
    pub since: Now,
    /// What was seen, for people.
    pub detail: String,
}

/// The current faults, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<FaultName, Fault>);

impl Faults {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a fault of this name.
    #[must_use]
    pub fn contains(&self, name: FaultName) -> bool {
        self.0.contains_key(&name)
    }

    /// The current faults, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (FaultName, &Fault)> {
        self.0.iter().map(|(name, fault)| (*name, fault))
    }

    /// Raises a fault. `false` if it was raised already: its start time and its detail then stay.
    pub(super) fn raise(&mut self, name: FaultName, since: Now, detail: String) -> bool {
        let new = !self.contains(name);
        self.0.entry(name).or_insert(Fault { since, detail });
        new
    }

    /// Clears a fault. `false` if it was not raised.
    pub(super) fn clear(&mut self, name: FaultName) -> bool {
        self.0.remove(&name).is_some()
    }
}
