//! Which faults to try, and the trying.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::results::{Class, Tally};
use super::strace::{Count, Counts, struck};
use super::table::{ROWS, Row, always_can, can_fail_once, can_happen};
use crate::Effort;

/// How many lives are lived at a time. Each mostly waits.
const AT_A_TIME: usize = 6;

/// A variable that limits a run to one call, to look at it more closely.
const ONLY: &str = "FAULTS_CALL";

/// One fault to try.
#[derive(Debug, Clone)]
pub(super) struct Trial<P> {
    pub(super) call: &'static str,
    pub(super) errno: &'static str,
    /// Which one of those that a thread makes. `None`: all for a while, in a process that is at work.
    pub(super) when: Option<u64>,
    pub(super) only_own: bool,
    /// In which part of a life.
    pub(super) part: P,
}

/// The calls of a part of a life.
pub(super) struct Traced {
    pub(super) all: Counts,
    /// Only those on the program's own files.
    pub(super) own: Counts,
}

/// A call in a part of a life, with what it may say there.
pub(super) struct Site<'a> {
    pub(super) row: &'static Row,
    pub(super) count: &'a Count,
    pub(super) errnos: &'static [&'static str],
    pub(super) only_own: bool,
}

impl Traced {
    /// Every call that was made and may fail.
    pub(super) fn sites(&self) -> Vec<Site<'_>> {
        let only = std::env::var(ONLY).ok();
        let mut sites = Vec::new();
        for row in ROWS.iter().filter(|row| only.as_deref().is_none_or(|only| only == row.call)) {
            for (counts, errnos, only_own) in [(&self.own, row.disk, true), (&self.all, row.any, false)] {
                let made = counts.0.get(row.call).filter(|_| !errnos.is_empty());
                sites.extend(made.map(|count| Site { row, count, errnos, only_own }));
            }
        }
        sites
    }
}

impl Site<'_> {
    /// Every fault of this kind here, the one that is to be tried first at the head: the one that lasts, which is quick, where
    /// there is one; then the middle, the first and the last that a thread makes.
    fn trials<P: Copy>(&self, errno: &'static str, part: P) -> Vec<Trial<P>> {
        let all = if can_fail_once(self.row.call) { self.count.can_say(errno) } else { Vec::new() };
        let mut moments: Vec<u64> = Vec::new();
        for when in [all.get(all.len() / 2), all.first(), all.last()].into_iter().flatten() {
            if !moments.contains(when) {
                moments.push(*when);
            }
        }
        let lasting = self.can_last(errno).then_some(None);
        let trial = |when| Trial { call: self.row.call, errno, when, only_own: self.only_own, part };
        lasting.into_iter().chain(moments.into_iter().map(Some)).map(trial).collect()
    }

    /// Whether a fault of this kind can last in a process that is at work: an interruption does not, nor what only some
    /// operations can say.
    fn can_last(&self, errno: &str) -> bool {
        errno != "EINTR" && always_can(self.row.call, errno) && self.count.at_work
    }
}

/// What to try, in this order: each cell once; then, as far as time goes, the same at other moments. In the short form one
/// fault for each call. Also gives the cells in which there is nothing to strike.
pub(super) fn in_order<P: Copy>(effort: Effort, parts: &[(P, &Traced)]) -> (Vec<Trial<P>>, BTreeSet<String>) {
    let (mut ranked, mut seen, mut hollow) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (part, traced) in parts {
        for site in traced.sites() {
            for (place, errno) in site.errnos.iter().enumerate() {
                let mut trials = site.trials(errno, *part);
                if trials.is_empty() {
                    hollow.insert((site.row.call, *errno));
                    continue;
                }
                let is_new = seen.insert((site.row.call, *errno));
                if !is_new {
                    // What lasts is not in any part of a life.
                    trials.retain(|trial| trial.when.is_some());
                }
                let after = usize::from(!is_new);
                let is_wanted = match effort {
                    Effort::Short => is_new && place == 0 && (site.only_own || site.row.disk.is_empty()),
                    Effort::Full => true,
                };
                let most = if effort == Effort::Short { 1 } else { usize::MAX };
                let trials = trials.into_iter().take(most).filter(|_| is_wanted);
                ranked.extend(trials.enumerate().map(|(rank, trial)| (rank + after, trial)));
            }
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    let hollow = hollow.difference(&seen).map(|(call, errno)| format!("{call} {errno}")).collect();
    (ranked.into_iter().map(|(_, trial)| trial).collect(), hollow)
}

/// Tries them, several at a time, each worker with something of its own that may last from one to the next. After `limit`
/// no new one is begun. Also gives those that were not tried.
pub(super) fn try_all<P: Send, W: Default>(
    trials: Vec<Trial<P>>,
    limit: Duration,
    each: impl Fn(&mut W, &Trial<P>) -> (Class, Vec<String>) + Sync,
) -> (Tally, Vec<Trial<P>>) {
    let (tally, queue) = (Mutex::new(Tally::default()), Mutex::new(VecDeque::from(trials)));
    let until = Instant::now() + limit;
    let work = || {
        let mut own = W::default();
        while Instant::now() < until {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(trial) = next else { return };
            let (class, lines) = each(&mut own, &trial);
            let struck = struck(&lines);
            let class = weigh(class, &trial, &struck);
            tally.lock().unwrap_or_else(PoisonError::into_inner).add(trial.call, trial.errno, struck.len(), &class);
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let left = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    (tally.into_inner().unwrap_or_else(PoisonError::into_inner), left.into())
}

/// A loss with the circumstances. None if what was hit cannot fail so.
fn weigh<P>(class: Class, trial: &Trial<P>, struck: &[&String]) -> Class {
    let Class::Lost(how) = class else { return class };
    if !struck.iter().all(|line| can_happen(line, trial.errno)) {
        return Class::Missed;
    }
    let Trial { call, errno, when, .. } = trial;
    let when = when.map_or_else(|| "for a while".to_owned(), |when| format!("number {when}"));
    let at = struck.first().map_or("never struck", |line| line.as_str());
    Class::Lost(format!("{call} {errno} ({when}): {how} [{at}]"))
}
