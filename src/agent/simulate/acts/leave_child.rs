//! `leave_child`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Parameter, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "leave_child",
    sentence: "A child is started that outlives the agent, for ten minutes at most. A `for` ends it earlier if the \
               agent still runs.",
    parameters: &[
        Parameter { name: "how", values: "`group`, `session`, `port`", default: "" },
    ],
    timing: Timing::Lasts,
};

/// A child is started that outlives the agent, for ten minutes at most. A `for` ends it earlier if the agent still
/// runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveChild {
    /// What ties it to the agent: the process group, nothing (a session of its own), or the listener.
    pub how: Left,
}

/// What ties a child to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// It is in the agent's process group.
    Group,
    /// Nothing: it is in a session of its own.
    Session,
    /// It holds the agent's listener, so that no other process can bind the port.
    Port,
}
