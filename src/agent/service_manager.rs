//! What the agent's service manager is told of its state.

use statemachine::lifecycle::State;

use crate::agent::snapshot::Snapshot;
use ops_runtime::service_manager::{ready, starting, stopping};

/// Tells the published state. Running and Degraded are both ready: a restart heals neither.
pub(crate) fn tell(snapshot: &Snapshot) {
    let status = status_line(snapshot);
    match snapshot.lifecycle.state() {
        State::Running | State::Degraded => ready(&status),
        State::Stopping | State::Stopped => stopping(&status),
        State::Starting => starting(&status),
    }
}

/// The state and its faults in a line, as `systemctl status` shows it.
fn status_line(snapshot: &Snapshot) -> String {
    let lifecycle = &snapshot.lifecycle;
    let faults: Vec<String> =
        lifecycle.faults().iter().map(|(name, fault)| format!("{}: {}", name.as_str(), fault.detail)).collect();
    if faults.is_empty() {
        format!("{:?}: {}", lifecycle.state(), lifecycle.cause())
    } else {
        format!("{:?}: {}", lifecycle.state(), faults.join("; "))
    }
}
