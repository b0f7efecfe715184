//! `ready` and `ready_timeout`: what ends the start of an agent.

use std::path::PathBuf;
use std::time::Duration;

use super::daemon::{Readiness, ReadyBy};
use super::host_checks::PathUse;
use super::key::Reload::{Live, NewProcess};
use super::key::{Key, key};
use super::numbers::Time;
use super::raw::ValueError;
use super::scope::Scope;
use super::values::{Choice, DAY, OrEmpty, SHORTEST};

const CHOICES: Choice<ReadyBy> = Choice(&[("http", ReadyBy::Http), ("notify", ReadyBy::Notify)]);

const READY: Key<OrEmpty<Choice<ReadyBy>>> = key(
    "ready",
    OrEmpty(CHOICES),
    NewProcess,
    "What ends the start. Empty: all checks pass. `http`: the HTTP check has passed once. `notify`: a process of the agent \
     has sent `READY=1` to the socket in `NOTIFY_SOCKET`, as programs for systemd do. Until then only the process counts.",
);

const READY_TIMEOUT: Key<Time> = key(
    "ready_timeout",
    Time(SHORTEST, DAY),
    Live,
    "The time that a start with `ready` may take. Then the agent is restarted.",
);

/// Reads both keys. `has_endpoint`: the agent has an HTTP check. `socket`: where it would send notifications to.
pub(super) fn readiness(item: &Scope<'_>, has_endpoint: bool, socket: PathBuf) -> Option<Readiness> {
    let by = item.sourced(&READY, None);
    let timeout = item.sourced(&READY_TIMEOUT, Duration::from_secs(90));
    match by.value {
        Some(ReadyBy::Http) if !has_endpoint => {
            let fact = "is `http`, and the agent has no HTTP check".to_owned();
            let remedy = "set `health_check.http_endpoint` too".to_owned();
            item.report(&by, READY.name, ValueError { fact, remedy });
        }
        Some(ReadyBy::Notify) => item.uses_path(PathUse::Socket(socket), READY.name, &by),
        None if timeout.is_given() => {
            let remedy = "set `ready` to `http` or `notify` too".to_owned();
            item.warn(&timeout, READY_TIMEOUT.name, "has no effect without `ready`", remedy);
        }
        Some(ReadyBy::Http) | None => {}
    }
    by.value.map(|by| Readiness { by, timeout: timeout.value })
}
