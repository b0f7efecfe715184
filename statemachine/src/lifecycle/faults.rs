//! The faults that stand: each named, each with a beginning, each with an exit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Now;

/// What can be wrong with an agent that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum FaultName {
    /// The daemon has not acknowledged `failure_threshold` heartbeats in a row. Exit: `recovery_threshold` that it has.
    Heartbeat,
    /// The HTTP listener cannot accept connections. Exit: it can again.
    Http,
    /// The agent cannot read its own use of CPU and memory. Exit: the next sample that succeeds.
    Resources,
    /// The status file could not be written, or not within its deadline. Exit: the next write that succeeds.
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

/// One fault that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When it began to stand.
    pub since: Now,
    /// What was seen, for people.
    pub detail: String,
}

/// The faults that stand, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<FaultName, Fault>);

impl Faults {
    /// Whether none stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the named one stands.
    #[must_use]
    pub fn stands(&self, name: FaultName) -> bool {
        self.0.contains_key(&name)
    }

    /// Those that stand, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (FaultName, &Fault)> {
        self.0.iter().map(|(name, fault)| (*name, fault))
    }

    /// Lets a fault stand. `false` if it stood already: its beginning and its detail then stay as they are.
    pub(super) fn raise(&mut self, name: FaultName, since: Now, detail: String) -> bool {
        let new = !self.stands(name);
        self.0.entry(name).or_insert(Fault { since, detail });
        new
    }

    /// Ends a fault. `false` if it did not stand.
    pub(super) fn clear(&mut self, name: FaultName) -> bool {
        self.0.remove(&name).is_some()
    }
}
