//! The checks of an agent as one sentence for an operator.

use std::time::Duration;

use super::heartbeat::NONE_EXPECTED;
use super::{Check, CheckStates, CheckStatus, Reason};

/// The summary of the checks: first what works, then what fails, then the conclusion.
#[must_use]
pub fn explain(states: &CheckStates, now: Duration) -> String {
    let summary = summary(states, now);
    if states.process.status.is_bad() {
        return summary;
    }
    if summary.is_empty() {
        return unknown(states).unwrap_or_else(|| "all checks are good".to_owned());
    }
    let works = [
        (&states.http, "HTTP answers"),
        (&states.tcp, "TCP port accepts"),
        (&states.exec, "check program is content"),
        (&states.heartbeat, "heartbeats arrive"),
        (&states.status_file, "status file fresh"),
    ];
    let works: Vec<&str> =
        works.into_iter().filter(|(state, _)| state.status == CheckStatus::Ok).map(|(_, text)| text).collect();
    let facts = if works.is_empty() { summary } else { format!("{}, {summary}", works.join(", ")) };
    format!("{facts}: {}", meaning(states, works.is_empty()))
}

/// What is bad or noted, with its age. Empty if nothing is.
#[must_use]
pub(crate) fn summary(states: &CheckStates, now: Duration) -> String {
    let clause = |(check, status): (Check, &CheckStatus)| {
        let (reason, since) = status.finding()?;
        Some(clause(check, reason, now.saturating_sub(since).as_secs()))
    };
    states.iter().filter_map(|(check, state)| clause((check, &state.status))).collect::<Vec<_>>().join(", ")
}

fn meaning(states: &CheckStates, nothing_works: bool) -> &'static str {
    let bad: Vec<Check> =
        states.liveness().filter(|(_, state)| state.status.is_bad()).map(|(check, _)| check).collect();
    match bad.as_slice() {
        [] if states.resources.status.is_bad() => "it works, but uses too much",
        [] => "reported only, no reason for a restart",
        [Check::Heartbeat] => "its sender hangs, or cannot reach this daemon",
        [Check::Http] => "its HTTP endpoint hangs or is unhealthy",
        [Check::Tcp] => "what serves its port hangs or has ended",
        [Check::Exec] => "the program that checks it finds it bad or hangs",
        [Check::StatusFile] if is_frozen(&states.status_file.status) => "the writer of the file hangs",
        [Check::StatusFile] => "a part of it hangs",
        _ if nothing_works => "the process is alive but hangs",
        _ => "a part of it hangs",
    }
}

/// One finding with its age in seconds.
fn clause(check: Check, reason: &Reason, age: u64) -> String {
    match (check, reason) {
        (_, Reason::Silent) => format!("no heartbeat for {age} s"),
        (_, Reason::NeverReceived) => format!("no heartbeat yet, for {age} s ({NONE_EXPECTED})"),
        (Check::Process, reason) => format!("{reason}, {age} s ago"),
        (Check::Heartbeat, reason) => format!("its heartbeat {reason} for {age} s"),
        (Check::Tcp, reason) => format!("TCP port {reason} for {age} s"),
        (Check::Exec, reason) => format!("check program {reason}, for {age} s"),
        (Check::Http, reason) => format!("HTTP {reason} for {age} s"),
        (Check::StatusFile, reason) => format!("status file {reason} for {age} s"),
        (Check::Resources, reason) => format!("{reason} for {age} s"),
    }
}

const fn is_frozen(status: &CheckStatus) -> bool {
    matches!(status, CheckStatus::Bad { reason: Reason::Frozen, .. })
}

fn unknown(states: &CheckStates) -> Option<String> {
    let detail = |(check, status): (Check, &CheckStatus)| match status {
        CheckStatus::Unknown { detail } | CheckStatus::NotPossible { detail } => {
            Some(format!("{} unknown: {detail}", check.as_str()))
        }
        CheckStatus::Off | CheckStatus::Ok | CheckStatus::Warning { .. } | CheckStatus::Bad { .. } => None,
    };
    let unknown: Vec<String> = states.iter().filter_map(|(check, state)| detail((check, &state.status))).collect();
    (!unknown.is_empty()).then(|| unknown.join("; "))
}
