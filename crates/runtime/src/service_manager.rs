//! Notifications to the service manager, by `sd_notify`. Without `NOTIFY_SOCKET` none is sent.

use std::time::Duration;

use sd_notify::NotifyState;

/// How often the service manager expects [`alive`]: half of its watchdog limit. `None`: it has set no limit.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Reports that the program is not ready yet, with one line of status.
pub fn starting(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// Reports that the program is ready, or has finished a reload, with one line of status.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports that a reload begins. [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Reports that the program stops, with one line of status.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Reports that the event loop runs.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// A service manager that does not listen must not stop the program.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not notified");
    }
}
