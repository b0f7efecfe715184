//! The signals in one sentence, as an operator would put it.

use std::time::Duration;

use super::{Check, CheckStates, CheckStatus};

/// What the five signals add up to: first what works, then what does not, then what that means.
#[must_use]
pub fn explain(readings: &CheckStates, now: Duration) -> String {
    let [process, heartbeat, http, status_file, resources] = &readings.0;
    let bad = |signal: &CheckStatus| matches!(signal, CheckStatus::Bad { .. });
    if bad(&process.signal) {
        return readings.summary(now);
    }
    let summary = readings.summary(now);
    if summary.is_empty() {
        return unknown(readings).unwrap_or_else(|| "everything that is looked at is good".to_owned());
    }
    let works = [
        (http.signal == CheckStatus::Ok).then_some("HTTP answers"),
        (heartbeat.signal == CheckStatus::Ok).then_some("heartbeats come"),
        (status_file.signal == CheckStatus::Ok).then_some("status file fresh"),
    ];
    let works: Vec<&str> = works.into_iter().flatten().collect();
    let silent = [bad(&heartbeat.signal), bad(&http.signal), bad(&status_file.signal)];
    let meaning = match silent {
        [false, false, true] if is_frozen(&status_file.signal) => "its writer is stuck",
        [true, false, false] => "its sender is stuck, or cannot reach this daemon",
        [false, true, false] => "its HTTP side is stuck or unwell",
        _ if silent.iter().filter(|bad| **bad).count() > 1 && works.is_empty() => "the process is there but hangs",
        _ if silent == [false; 3] && bad(&resources.signal) => "it works, but takes too much",
        _ if silent == [false; 3] => "reported, and no reason to restart it",
        _ => "part of it is stuck",
    };
    let facts = if works.is_empty() { summary } else { format!("{}, {summary}", works.join(", ")) };
    format!("{facts}: {meaning}")
}

/// One complaint with its age.
pub(super) fn clause(check: Check, why: &str, age: Duration) -> String {
    let age = age.as_secs();
    match check {
        Check::Process => format!("{why} since {age} s"),
        Check::Heartbeat if why.starts_with("none") => {
            let ever = if why == "none ever" { "yet, " } else { "" };
            format!("no heartbeat {ever}for {age} s")
        }
        Check::Heartbeat => format!("its heartbeat {why} since {age} s"),
        Check::Http => format!("HTTP {why} since {age} s"),
        Check::StatusFile => format!("status file {why} since {age} s"),
        Check::Resources => format!("{why}, since {age} s"),
    }
}

fn is_frozen(signal: &CheckStatus) -> bool {
    matches!(signal, CheckStatus::Bad { why, .. } if why == "frozen")
}

fn unknown(readings: &CheckStates) -> Option<String> {
    let known = |(check, signal): (Check, &CheckStatus)| match signal {
        CheckStatus::Unknown { why } => Some(format!("{} unknown: {why}", check.as_str())),
        CheckStatus::Off | CheckStatus::Ok | CheckStatus::Warning { .. } | CheckStatus::Bad { .. } => None,
    };
    let unknown: Vec<String> = readings.iter().filter_map(|(check, reading)| known((check, &reading.signal))).collect();
    (!unknown.is_empty()).then(|| unknown.join("; "))
}
