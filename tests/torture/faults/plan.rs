//! The plan of the faults, and its execution.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::results::{FaultResult, Outcome, ResultTable};
use super::strace::{Count, Counts, failed_calls};
use super::table::{ROWS, Row, always_possible, can_fail_once, is_possible};
use crate::Effort;

/// How many scenarios run in parallel. Each of them mostly waits.
const PARALLEL: usize = 6;

/// The environment variable that limits a run to one call.
const ONLY_CALL: &str = "FAULTS_CALL";

/// One fault to try.
#[derive(Debug, Clone)]
pub(super) struct Trial<P> {
    pub(super) call: &'static str,
    pub(super) errno: &'static str,
    /// The number of the call within its thread. `None`: a lasting fault in a running process.
    pub(super) when: Option<u64>,
    pub(super) only_own: bool,
    /// The part of the scenario.
    pub(super) part: P,
}

/// The calls of one part of a scenario.
pub(super) struct Traced {
    pub(super) all: Counts,
    /// The calls on the program's own files.
    pub(super) own: Counts,
}

/// A call in one part of a scenario, with its possible errors.
pub(super) struct CallSite<'a> {
    pub(super) row: &'static Row,
    pub(super) count: &'a Count,
    pub(super) errnos: &'static [&'static str],
    pub(super) only_own: bool,
}

impl Traced {
    /// Every call that can fail.
    pub(super) fn call_sites(&self) -> Vec<CallSite<'_>> {
        let only = std::env::var(ONLY_CALL).ok();
        let mut sites = Vec::new();
        for row in ROWS.iter().filter(|row| only.as_deref().is_none_or(|only| only == row.call)) {
            for (counts, errnos, only_own) in [(&self.own, row.disk, true), (&self.all, row.any, false)] {
                let made = counts.0.get(row.call).filter(|_| !errnos.is_empty());
                sites.extend(made.map(|count| CallSite { row, count, errnos, only_own }));
            }
        }
        sites
    }
}

impl CallSite<'_> {
    /// All trials of one error, by priority: the lasting fault, which is quick; then the middle, first and last call
    /// of a thread.
    fn trials<P: Copy>(&self, errno: &'static str, part: P) -> Vec<Trial<P>> {
        let all = if can_fail_once(self.row.call) { self.count.can_fail_with(errno) } else { Vec::new() };
        let mut positions: Vec<u64> = Vec::new();
        for when in [all.get(all.len() / 2), all.first(), all.last()].into_iter().flatten() {
            if !positions.contains(when) {
                positions.push(*when);
            }
        }
        let lasting = self.can_last(errno).then_some(None);
        let trial = |when| Trial { call: self.row.call, errno, when, only_own: self.only_own, part };
        lasting.into_iter().chain(positions.into_iter().map(Some)).map(trial).collect()
    }

    /// Whether an error can last in a running process. An interruption cannot, nor an error of only some operations.
    fn can_last(&self, errno: &str) -> bool {
        errno != "EINTR" && always_possible(self.row.call, errno) && self.count.while_running
    }
}

/// Orders the trials: first each cell once, then the same cells at other positions. The short form has one trial for
/// each call. Also returns the cells without a call that can fail.
pub(super) fn plan_trials<P: Copy>(effort: Effort, parts: &[(P, &Traced)]) -> (Vec<Trial<P>>, BTreeSet<String>) {
    let (mut ranked, mut seen, mut not_injectable) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (part, traced) in parts {
        for site in traced.call_sites() {
            for (position, errno) in site.errnos.iter().enumerate() {
                let mut trials = site.trials(errno, *part);
                if trials.is_empty() {
                    not_injectable.insert((site.row.call, *errno));
                    continue;
                }
                let is_new = seen.insert((site.row.call, *errno));
                if !is_new {
                    // A lasting fault does not depend on the part.
                    trials.retain(|trial| trial.when.is_some());
                }
                let offset = usize::from(!is_new);
                let is_included = match effort {
                    Effort::Short => is_new && position == 0 && (site.only_own || site.row.disk.is_empty()),
                    Effort::Full => true,
                };
                let max_trials = if effort == Effort::Short { 1 } else { usize::MAX };
                let trials = trials.into_iter().take(max_trials).filter(|_| is_included);
                ranked.extend(trials.enumerate().map(|(rank, trial)| (rank + offset, trial)));
            }
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    let not_injectable = not_injectable.difference(&seen).map(|(call, errno)| format!("{call} {errno}")).collect();
    (ranked.into_iter().map(|(_, trial)| trial).collect(), not_injectable)
}

/// Runs the trials in parallel. Each worker has a value that lasts from one trial to the next. After `limit`, no new
/// trial starts. Also returns the trials that are left.
pub(super) fn run_trials<P: Send, W: Default>(
    trials: Vec<Trial<P>>,
    limit: Duration,
    each: impl Fn(&mut W, &Trial<P>) -> FaultResult + Sync,
) -> (ResultTable, Vec<Trial<P>>) {
    let (table, queue) = (Mutex::new(ResultTable::default()), Mutex::new(VecDeque::from(trials)));
    let until = Instant::now() + limit;
    let work = || {
        let mut worker = W::default();
        while Instant::now() < until {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(trial) = next else { return };
            let (outcome, lines) = each(&mut worker, &trial);
            let failed = failed_calls(&lines);
            let outcome = add_context(outcome, &trial, &failed);
            table.lock().unwrap_or_else(PoisonError::into_inner).add(trial.call, trial.errno, failed.len(), &outcome);
        }
    };
    std::thread::scope(|scope| (0..PARALLEL).for_each(|_| drop(scope.spawn(work))));
    let left = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    (table.into_inner().unwrap_or_else(PoisonError::into_inner), left.into())
}

/// Adds the trial to a failure. If the error is impossible for a call that failed, the trial is not valid.
fn add_context<P>(outcome: Outcome, trial: &Trial<P>, failed: &[&String]) -> Outcome {
    let Outcome::Failed(how) = outcome else { return outcome };
    if !failed.iter().all(|line| is_possible(line, trial.errno)) {
        return Outcome::Invalid;
    }
    let Trial { call, errno, when, .. } = trial;
    let when = when.map_or_else(|| "lasting".to_owned(), |when| format!("number {when}"));
    let line = failed.first().map_or("no call failed", |line| line.as_str());
    Outcome::Failed(format!("{call} {errno} ({when}): {how} [{line}]"))
}
