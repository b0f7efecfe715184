//! Faults at the boundary to the kernel: each system call that agent and daemon make, failed with each error that its manual
//! page allows and that can really happen to it.
//!
//! The calls are not listed by hand but taken from a trace of a whole life; [`table`] says what each may say, and a call that
//! is not in it is a loss. `FAULTS_CALL=fsync` limits a run to one call.

mod agent;
mod body;
mod daemon;
mod host;
mod plan;
mod strace;
mod table;
mod tally;

use std::collections::HashSet;
use std::time::Duration;

use self::agent::Pace;
use self::daemon::Part;
use self::plan::{Traced, Trial, try_all};
use self::strace::Counts;
use self::table::{LEFT_ALONE, row};
use self::tally::{Class, Tally};
use crate::report::Findings;
use crate::{Effort, support};

/// How long new faults are begun in each section of the full form.
const LIMIT: Duration = Duration::from_secs(75);

/// Faults in the life of an agent.
pub(crate) fn agent(effort: Effort, findings: &mut Findings) {
    if !support::installed("strace") {
        findings.could_not("make system calls fail: strace is not installed");
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
    let mut trials = Vec::new();
    for site in traced.sites() {
        for (place, errno) in site.errnos.iter().enumerate() {
            match effort {
                // One fault for each call.
                Effort::Short if place > 0 || (!site.only_own && !site.row.disk.is_empty()) => {}
                Effort::Short => trials.extend(site.middle().map(|when| site.trial(errno, Some(when), ()))),
                Effort::Full => {
                    trials.extend(site.moments().into_iter().map(|when| site.trial(errno, Some(when), ())));
                    trials.extend(site.can_last(errno).then(|| site.trial(errno, None, ())));
                }
            }
        }
    }
    let (tally, left) = try_all(trials, 2 * LIMIT, |lasting: &mut Option<agent::Life>, trial| match trial.when {
        Some(when) => agent::with(trial.call, trial.errno, when, trial.only_own),
        None => for_a_while(lasting, trial),
    });
    report(&tally, left, &[&traced.all], findings);
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
    if !support::installed("strace") {
        findings.could_not("make system calls fail: strace is not installed");
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
    let trials = daemon_trials(effort, &traced);
    let (tally, left) = try_all(trials, LIMIT, |lasting: &mut Option<daemon::Life>, trial| match trial.when {
        Some(when) => daemon::with(trial.part, trial.call, trial.errno, when, trial.only_own),
        None => daemon_for_a_while(lasting, trial),
    });
    report(&tally, left, &traced.each_ref().map(|(_, _, traced)| &traced.all), findings);
    findings.saw("the rotation of the agents' logs, every 15 s, is in none of these lives");
}

/// First one fault for each cell, which lasts where it can, since that is quick; then, as far as time goes, the same at other
/// moments.
fn daemon_trials(effort: Effort, traced: &[(Part, Class, Traced)]) -> Vec<Trial<Part>> {
    let (mut trials, mut more, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (part, _, traced) in traced {
        for site in traced.sites() {
            for (place, errno) in site.errnos.iter().enumerate() {
                let once = |when| site.trial(errno, Some(when), *part);
                let is_new = seen.insert((site.row.call, *errno, site.only_own));
                match effort {
                    Effort::Short if place > 0 || !is_new || (!site.only_own && !site.row.disk.is_empty()) => {}
                    Effort::Short | Effort::Full if is_new && site.can_last(errno) => {
                        trials.push(site.trial(errno, None, *part));
                        more.extend(site.moments().into_iter().map(once));
                    }
                    Effort::Short | Effort::Full if is_new => trials.extend(site.middle().map(once)),
                    Effort::Short => {}
                    Effort::Full => more.extend(site.middle().map(once)),
                }
            }
        }
    }
    if effort == Effort::Full {
        trials.append(&mut more);
    }
    trials
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
        findings.lost(format!("{what}, without any fault: {healthy:?}"));
        return false;
    }
    for call in counts.0.keys().filter(|call| matches!(row(call), Err(None))) {
        findings.lost(format!("{call} is made, and the table of errors has no row for it"));
    }
    true
}

fn report(tally: &Tally, left: usize, counts: &[&Counts], findings: &mut Findings) {
    let (faults, struck) = tally.sums();
    findings.tried(faults, format!("a fault in a life, for which calls failed {struck} times"));
    let (cells, hit, missed) = tally.coverage();
    let missed = if missed.is_empty() { "none".to_owned() } else { missed.join(", ") };
    findings
        .saw(format!("{hit} of {cells} cells of the table were struck; tried where the call was not made: {missed}"));
    if left > 0 {
        findings.saw(format!("{left} more faults, at other moments, were left out for want of time"));
    }
    for (reason, calls) in LEFT_ALONE {
        let is_made = |call: &&str| counts.iter().any(|counts| counts.0.contains_key(*call));
        let made: Vec<&str> = calls.iter().copied().filter(is_made).collect();
        if !made.is_empty() {
            findings.saw(format!("left alone: {}: {reason}", made.join(", ")));
        }
    }
    tally.lost().iter().for_each(|lost| findings.lost(lost.clone()));
    findings.table(tally.markdown());
}
