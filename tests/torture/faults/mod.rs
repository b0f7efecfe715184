//! Faults of system calls: each call of agent and daemon fails with each error that its manual page allows and that can
//! really occur.
//!
//! The calls come from a trace of a whole scenario. [`table`] has the possible errors of each; a call without a row is
//! a failure. [`expectations`] has the faults that a program must report for a failed call, and those that it must not
//! report. `FAULTS_CALL=fsync` limits a run to one call.

mod agent;
pub(crate) mod aside;
mod daemon;
mod diagnostics;
mod expectations;
mod host;
pub(crate) mod launcher;
mod launcher_table;
mod launcher_trials;
mod plan;
mod process;
mod results;
pub(crate) mod rotation;
mod strace;
mod table;

use std::collections::BTreeSet;
use std::time::Duration;

use self::agent::Pace;
use self::daemon::Part;
use self::plan::{Traced, Trial, plan_trials, run_trials};
use self::results::{FaultResult, Outcome, ResultTable};
use self::strace::Counts;
use self::table::{NOT_INJECTED, ROWS, row};
use crate::report::Findings;
use crate::{Effort, support};

/// The time after which a section of the full form starts no new trial.
const LIMIT: Duration = Duration::from_secs(75);

/// Faults in the scenario of an agent.
pub(crate) fn agent(effort: Effort, findings: &mut Findings) {
    if support::find_program("strace").is_none() {
        findings.skip("system call faults: strace is not installed");
        return;
    }
    let (all, outcome) = agent::traced(Pace::Fast, false);
    let (own, _) = agent::traced(Pace::Fast, true);
    let (slow, _) = agent::traced(Pace::Slow, false);
    let all = all.replace_calls(slow, |call| Pace::of(call) == Pace::Slow);
    let traced = Traced { all, own };
    if !check_baseline("the scenario of an agent", &outcome, &traced.all, findings) {
        return;
    }
    let (trials, not_injectable) = plan_trials(effort, &[((), &traced)]);
    let (table, left) =
        run_trials(trials, 2 * LIMIT, |running: &mut Option<agent::Scenario>, trial| match trial.when {
            Some(when) => agent::run_with_fault(trial.call, trial.errno, when, trial.only_own),
            None => agent_with_lasting_fault(running, trial),
        });
    report(&table, &left, &not_injectable, &[&traced.all], findings);
}

/// Injects a lasting fault into the agent of the previous trial, if that passed, or into a new one.
fn agent_with_lasting_fault(running: &mut Option<agent::Scenario>, trial: &Trial<()>) -> FaultResult {
    let pace = Pace::of(trial.call);
    let mut scenario = match running.take() {
        Some(scenario) if scenario.pace == pace => scenario,
        _ => match agent::start_running(pace) {
            Ok(scenario) => scenario,
            Err(how) => return (Outcome::Failed(how), Vec::new()),
        },
    };
    let (outcome, lines) = scenario.run_with_lasting_fault(trial.call, trial.errno, trial.only_own);
    if !matches!(outcome, Outcome::Failed(_)) {
        *running = Some(scenario);
    }
    (outcome, lines)
}

/// Faults in the scenario of a daemon.
pub(crate) fn daemon(effort: Effort, findings: &mut Findings) {
    if support::find_program("strace").is_none() {
        findings.skip("system call faults: strace is not installed");
        return;
    }
    let traced = [Part::First, Part::Second].map(|part| {
        let ((all, outcome), (own, _)) = (daemon::traced(part, false), daemon::traced(part, true));
        (part, outcome, Traced { all, own })
    });
    for (part, outcome, traced) in &traced {
        if !check_baseline(&format!("{part:?} part of the scenario of a daemon"), outcome, &traced.all, findings) {
            return;
        }
    }
    let parts: Vec<(Part, &Traced)> = traced.iter().map(|(part, _, traced)| (*part, traced)).collect();
    let (trials, not_injectable) = plan_trials(effort, &parts);
    let (mut table, left) =
        run_trials(trials, LIMIT, |running: &mut Option<daemon::Scenario>, trial| match trial.when {
            Some(when) => daemon::run_with_fault(trial.part, trial.call, trial.errno, when, trial.only_own),
            None => daemon_with_lasting_fault(running, trial),
        });
    match effort {
        Effort::Short => findings.note("log rotation, every 15 s, is not part of the short form"),
        Effort::Full => rotation::add_to(&mut table),
    }
    report(&table, &left, &not_injectable, &traced.each_ref().map(|(_, _, traced)| &traced.all), findings);
}

/// The same for a daemon.
fn daemon_with_lasting_fault(running: &mut Option<daemon::Scenario>, trial: &Trial<Part>) -> FaultResult {
    let mut scenario = match running.take().map_or_else(daemon::start_running, Ok) {
        Ok(scenario) => scenario,
        Err(how) => return (Outcome::Failed(how), Vec::new()),
    };
    let (outcome, lines) = scenario.run_with_lasting_fault(trial.call, trial.errno, trial.only_own);
    if !matches!(outcome, Outcome::Failed(_)) {
        *running = Some(scenario);
    }
    (outcome, lines)
}

/// Whether the scenario without a fault passes. A call without a row in the table is a failure.
fn check_baseline(scenario: &str, outcome: &Outcome, counts: &Counts, findings: &mut Findings) -> bool {
    if matches!(outcome, Outcome::Failed(_) | Outcome::FailedToStart) || counts.0.is_empty() {
        findings.fail(format!("{scenario}, without a fault: {outcome:?}"));
        return false;
    }
    for call in counts.0.keys().filter(|call| matches!(row(call), Err(None))) {
        findings.fail(format!("the program calls {call}, which has no row in the table of errors"));
    }
    true
}

fn report<P>(
    table: &ResultTable,
    left: &[Trial<P>],
    not_injectable: &BTreeSet<String>,
    counts: &[&Counts],
    findings: &mut Findings,
) {
    let (faults, failed_calls) = table.totals();
    findings.tried(faults, format!("scenarios with a fault, in which {failed_calls} calls failed"));
    let (cells, hit, unused) = table.coverage();
    let unused = if unused.is_empty() { "none".to_owned() } else { unused.join(", ") };
    findings
        .note(format!("calls failed in {hit} of {cells} cells of the table; cells in which no call failed: {unused}"));
    let untried = left.iter().filter(|trial| !table.contains(trial.call, trial.errno));
    let untried: BTreeSet<String> = untried.map(|trial| format!("{} {}", trial.call, trial.errno)).collect();
    if !untried.is_empty() {
        let untried: Vec<String> = untried.into_iter().collect();
        findings.skip(format!("these cells, because the time limit was reached: {}", untried.join(", ")));
    }
    if !left.is_empty() {
        findings.note(format!(
            "{} more trials, most of them at other positions, were left out because the time limit was reached",
            left.len()
        ));
    }
    if !not_injectable.is_empty() {
        let not_injectable: Vec<&str> = not_injectable.iter().map(String::as_str).collect();
        findings.note(format!(
            "called, but never with arguments for which the error is possible: {}",
            not_injectable.join(", ")
        ));
    }
    let is_called = |call: &str| counts.iter().any(|counts| counts.0.contains_key(call));
    let unused: Vec<&str> = ROWS.iter().map(|row| row.call).filter(|call| !is_called(call)).collect();
    if !unused.is_empty() {
        findings.note(format!("in the table, but not called in these scenarios: {}", unused.join(", ")));
    }
    for (reason, calls) in NOT_INJECTED {
        let called: Vec<&str> = calls.iter().copied().filter(|call| is_called(call)).collect();
        if !called.is_empty() {
            findings.note(format!("no faults in {}: {reason}", called.join(", ")));
        }
    }
    table.failures().iter().for_each(|failure| findings.fail(failure.clone()));
    findings.table(table.markdown());
}
