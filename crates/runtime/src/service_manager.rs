//! What a service manager is told, in the words of `sd_notify`. Without `NOTIFY_SOCKET` it is told nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// How often it wants to hear that the loop turns: half of what it waits for. `None`: it does not ask.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Not ready yet, and why, in a line.
pub fn starting(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Ready, or done with a reload, and how it is, in a line.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins. [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end begins, and why, in a line.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// The loop turns.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// A service manager that does not listen is no reason to stop working.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "service manager not told");
    }
}
