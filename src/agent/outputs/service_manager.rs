//! What the service manager is told, in the words of `sd_notify`. Without `NOTIFY_SOCKET` it is told nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use statemachine::lifecycle::State;

use crate::agent::snapshot::Snapshot;

/// Speaks to the service manager that started this process, if one did.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceManager;

impl ServiceManager {
    /// How often it wants to hear that the loop turns: half of what it waits for. `None`: it does not ask.
    #[must_use]
    pub fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }

    /// Tells the published state. Running and Degraded are both ready: a restart heals neither.
    pub fn state(self, snapshot: &Snapshot) {
        let status = status_line(snapshot);
        let status = NotifyState::Status(&status);
        match snapshot.lifecycle.state() {
            State::Running | State::Degraded => tell(&[NotifyState::Ready, status]),
            State::Stopping | State::Stopped => tell(&[NotifyState::Stopping, status]),
            State::Starting => tell(&[status]),
        }
    }

    /// Tells that a reload begins. The next state ends it.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// Tells that the loop turns.
    pub fn alive(self) {
        tell(&[NotifyState::Watchdog]);
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

/// A service manager that does not listen is no reason to stop working.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "service manager not told");
    }
}
