//! Which faults to try, and the trying.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::strace::{Count, Counts};
use super::table::{ROWS, Row, always_can, can_happen};
use super::tally::{Class, Tally};

/// How many lives are lived at a time. Each mostly waits.
const AT_A_TIME: usize = 4;

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
    /// A fault here.
    pub(super) fn trial<P>(&self, errno: &'static str, when: Option<u64>, part: P) -> Trial<P> {
        Trial { call: self.row.call, errno, when, only_own: self.only_own, part }
    }

    /// The one in the middle, of those that can fail.
    pub(super) fn middle(&self) -> Option<u64> {
        self.count.can_fail.get(self.count.can_fail.len() / 2).copied()
    }

    /// The first, the middle and the last that a thread makes and that can fail.
    pub(super) fn moments(&self) -> Vec<u64> {
        let all = &self.count.can_fail;
        let mut moments: Vec<u64> =
            [all.first(), all.get(all.len() / 2), all.last()].into_iter().flatten().copied().collect();
        moments.dedup();
        moments
    }

    /// Whether a fault of this kind can last in a process that is at work: an interruption does not, nor what only some
    /// operations can say.
    pub(super) fn can_last(&self, errno: &str) -> bool {
        errno != "EINTR" && always_can(self.row.call) && self.count.at_work
    }
}

/// Tries them, several at a time, each worker with something of its own that may last from one to the next. After `limit`
/// no new one is begun. Also tells how many were not tried.
pub(super) fn try_all<P: Send, W: Default>(
    trials: Vec<Trial<P>>,
    limit: Duration,
    each: impl Fn(&mut W, &Trial<P>) -> (Class, Vec<String>) + Sync,
) -> (Tally, usize) {
    let (tally, queue) = (Mutex::new(Tally::default()), Mutex::new(VecDeque::from(trials)));
    let until = Instant::now() + limit;
    let work = || {
        let mut own = W::default();
        while Instant::now() < until {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(trial) = next else { return };
            let (class, struck) = each(&mut own, &trial);
            let class = weigh(class, &trial, &struck);
            tally.lock().unwrap_or_else(PoisonError::into_inner).add(trial.call, trial.errno, struck.len(), &class);
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let left = queue.into_inner().unwrap_or_else(PoisonError::into_inner).len();
    (tally.into_inner().unwrap_or_else(PoisonError::into_inner), left)
}

/// A loss with the circumstances. None if what was hit cannot fail so.
fn weigh<P>(class: Class, trial: &Trial<P>, struck: &[String]) -> Class {
    let Class::Lost(how) = class else { return class };
    if !struck.iter().all(|line| can_happen(line)) {
        return Class::Missed;
    }
    let Trial { call, errno, when, .. } = trial;
    let when = when.map_or_else(|| "for a while".to_owned(), |when| format!("number {when}"));
    let at = struck.first().map_or("never struck", String::as_str);
    Class::Lost(format!("{call} {errno} ({when}): {how} [{at}]"))
}
