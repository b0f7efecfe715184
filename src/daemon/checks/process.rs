//! The check of the process: whether there is one.

use statemachine::supervision::{State, Supervised};

use super::{CheckStatus, Reason};

/// The status of an agent that has no process.
pub(crate) fn without_process(machine: &Supervised) -> CheckStatus {
    match machine.state() {
        State::Stopped | State::Waiting => CheckStatus::Off,
        State::Starting => CheckStatus::Unknown { detail: "being started".to_owned() },
        State::Running | State::Unhealthy | State::Stopping | State::Backoff | State::Failed => {
            CheckStatus::Bad { reason: Reason::Gone(machine.cause().to_owned()), since: machine.since().monotonic }
        }
    }
}
