//! Faults at the boundary to the kernel: each system call that agent and daemon make, failed with each error that its manual
//! page allows and that can really happen to it.
//!
//! The calls are not listed by hand but taken from a trace of a whole life; [`table`] says what each may say, and a call that
//! is not in it is a loss. [`expectations`] says what a failed call must be called by the program, and what it must not be called.
//! `FAULTS_CALL=fsync` limits a run to one call.

mod agent;
mod daemon;
mod diagnostics;
mod expectations;
mod host;
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
use self::plan::{Traced, Trial, in_order, try_all};
use self::results::{Class, Tally};
use self::strace::Counts;
use self::table::{LEFT_ALONE, ROWS, row};
use crate::report::Findings;
use crate::{Effort, support};

/// How long new faults are begun in each section of the full form.
const LIMIT: Duration = Duration::from_secs(75);

/// Faults in the life of an agent.
pub(crate) fn agent(effort: Effort, findings: &mut Findings) {
    if support::find_program("strace").is_none() {
        findings.skip("make system calls fail: strace is not installed");
        return;
    }
    let (all, healthy) = agent::traced(Pace::Brisk, false);
    let (own, _) = agent::traced(Pace::Brisk, true);
    let (calm, _) = agent::traced(Pace::Calm, false);
    let all = all.but_for(calm, |call| Pace::of(call) == Pace::Calm);
    let traced = Traced { all, own };
    if !is_known("an agent's life", &healthy, &traced.all, findings) {
        return;
    }
    let (trials, hollow) = in_order(effort, &[((), &traced)]);
    let (tally, left) = try_all(trials, 2 * LIMIT, |lasting: &mut Option<agent::Life>, trial| match trial.when {
        Some(when) => agent::with(trial.call, trial.errno, when, trial.only_own),
        None => for_a_while(lasting, trial),
    });
    report(&tally, &left, &hollow, &[&traced.all], findings);
}

/// A fault that lasts, on an agent that an earlier one has left unharmed, or on a new one.
fn for_a_while(lasting: &mut Option<agent::Life>, trial: &Trial<()>) -> (Class, Vec<String>) {
    let pace = Pace::of(trial.call);
    let mut life = match lasting.take() {
        Some(life) if life.pace == pace => life,
        _ => match agent::running(pace) {
            Ok(life) => life,
            Err(how) => return (Class::Lost(how), Vec::new()),
        },
    };
    let (class, struck) = life.endure(trial.call, trial.errno, trial.only_own);
    if !matches!(class, Class::Lost(_)) {
        *lasting = Some(life);
    }
    (class, struck)
}

/// Faults in the life of a daemon.
pub(crate) fn daemon(effort: Effort, findings: &mut Findings) {
    if support::find_program("strace").is_none() {
        findings.skip("make system calls fail: strace is not installed");
        return;
    }
    let traced = [Part::First, Part::Second].map(|part| {
        let ((all, healthy), (own, _)) = (daemon::traced(part, false), daemon::traced(part, true));
        (part, healthy, Traced { all, own })
    });
    for (part, healthy, traced) in &traced {
        if !is_known(&format!("{part:?} part of a daemon's life"), healthy, &traced.all, findings) {
            return;
        }
    }
    let parts: Vec<(Part, &Traced)> = traced.iter().map(|(part, _, traced)| (*part, traced)).collect();
    let (trials, hollow) = in_order(effort, &parts);
    let (mut tally, left) = try_all(trials, LIMIT, |lasting: &mut Option<daemon::Life>, trial| match trial.when {
        Some(when) => daemon::with(trial.part, trial.call, trial.errno, when, trial.only_own),
        None => daemon_for_a_while(lasting, trial),
    });
    match effort {
        Effort::Short => findings.note("the rotation of the agents' logs, every 15 s, is in none of these lives"),
        Effort::Full => rotation::add_to(&mut tally),
    }
    report(&tally, &left, &hollow, &traced.each_ref().map(|(_, _, traced)| &traced.all), findings);
}

/// The same for a daemon.
fn daemon_for_a_while(lasting: &mut Option<daemon::Life>, trial: &Trial<Part>) -> (Class, Vec<String>) {
    let mut life = match lasting.take().map_or_else(daemon::running, Ok) {
        Ok(life) => life,
        Err(how) => return (Class::Lost(how), Vec::new()),
    };
    let (class, struck) = life.endure(trial.call, trial.errno, trial.only_own);
    if !matches!(class, Class::Lost(_)) {
        *lasting = Some(life);
    }
    (class, struck)
}

/// Whether a life without a fault is as it should be. Calls that nobody has thought of yet are a loss.
fn is_known(what: &str, healthy: &Class, counts: &Counts, findings: &mut Findings) -> bool {
    if matches!(healthy, Class::Lost(_) | Class::Ended) || counts.0.is_empty() {
        findings.fail(format!("{what}, without any fault: {healthy:?}"));
        return false;
    }
    for call in counts.0.keys().filter(|call| matches!(row(call), Err(None))) {
        findings.fail(format!("{call} is made, and the table of errors has no row for it"));
    }
    true
}

fn report<P>(tally: &Tally, left: &[Trial<P>], hollow: &BTreeSet<String>, counts: &[&Counts], findings: &mut Findings) {
    let (faults, struck) = tally.sums();
    findings.tried(faults, format!("a fault in a life, for which calls failed {struck} times"));
    let (cells, hit, missed) = tally.coverage();
    let missed = if missed.is_empty() { "none".to_owned() } else { missed.join(", ") };
    findings
        .note(format!("{hit} of {cells} cells of the table were struck; tried where the call was not made: {missed}"));
    let untried = left.iter().filter(|trial| !tally.knows(trial.call, trial.errno));
    let untried: BTreeSet<String> = untried.map(|trial| format!("{} {}", trial.call, trial.errno)).collect();
    if !untried.is_empty() {
        let untried: Vec<String> = untried.into_iter().collect();
        findings.skip(format!("try these cells at all, for want of time: {}", untried.join(", ")));
    }
    if !left.is_empty() {
        findings.note(format!("{} more faults, most at other moments, were left out for want of time", left.len()));
    }
    if !hollow.is_empty() {
        let hollow: Vec<&str> = hollow.iter().map(String::as_str).collect();
        findings.note(format!("made, but never where they can be made to say so: {}", hollow.join(", ")));
    }
    let is_made = |call: &str| counts.iter().any(|counts| counts.0.contains_key(call));
    let idle: Vec<&str> = ROWS.iter().map(|row| row.call).filter(|call| !is_made(call)).collect();
    if !idle.is_empty() {
        findings.note(format!("in the table, but made in none of these lives: {}", idle.join(", ")));
    }
    for (reason, calls) in LEFT_ALONE {
        let made: Vec<&str> = calls.iter().copied().filter(|call| is_made(call)).collect();
        if !made.is_empty() {
            findings.note(format!("left alone: {}: {reason}", made.join(", ")));
        }
    }
    tally.lost().iter().for_each(|lost| findings.fail(lost.clone()));
    findings.table(tally.markdown());
}
