//! Notifies the service manager of the agent's state.

use statemachine::lifecycle::State;

use crate::agent::snapshot::Snapshot;
use ops_runtime::service_manager::{ready, starting, stopping};

/// Sends the published state. Running and Degraded are both ready, because a restart would not help.
pub(crate) fn notify(snapshot: &Snapshot) {
    let status = status_line(snapshot);
    match snapshot.lifecycle.state() {
        State::Running | State::Degraded => ready(&status),
        State::Stopping | State::Stopped => stopping(&status),
        State::Starting => starting(&status),
    }
}

/// The state and its faults on one line, for `systemctl status`.
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
