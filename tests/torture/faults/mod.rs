//! Faults at the boundary to the kernel: each system call that agent and daemon make, failed with each error that its manual
//! page allows and that can really happen to it.
//!
//! The calls are not listed by hand but taken from a trace of a whole life; [`table`] says what each may say, and a call that
//! is not in it is a loss.

mod agent;
mod body;
mod strace;
mod table;
mod tally;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use self::agent::Pace;
use self::strace::{Count, Counts};
use self::table::{LEFT_ALONE, ROWS, always_can, can_happen, row};
use self::tally::{Class, Tally};
use crate::report::Findings;
use crate::{Effort, support};

/// How many lives are lived at a time. Each mostly waits.
const AT_A_TIME: usize = 4;

/// A variable that limits a run to one call, to look at it more closely.
const ONLY: &str = "FAULTS_CALL";

/// One fault to try.
#[derive(Debug, Clone)]
struct Trial {
    call: &'static str,
    errno: &'static str,
    /// `None`: for a while, on an agent that is Running.
    when: Option<String>,
    only_own: bool,
}

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
    if healthy != Class::RodeOut || all.0.is_empty() {
        findings.lost(format!("a life without any fault: {healthy:?}"));
        return;
    }
    unknown(&all, findings);
    let trials = trials(effort, &all, &own);
    let tally = Mutex::new(Tally::default());
    let queue = Mutex::new(VecDeque::from(trials));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| agents(&queue, &tally));
        }
    });
    report(&tally.into_inner().unwrap_or_else(PoisonError::into_inner), &all, findings);
}

/// Tries what is in the queue until it is empty.
fn agents(queue: &Mutex<VecDeque<Trial>>, tally: &Mutex<Tally>) {
    let mut lasting = None;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(Trial { call, errno, when, only_own }) = next else { return };
        let (class, struck) = match &when {
            Some(when) => agent::with(call, errno, when, only_own),
            None => for_a_while(&mut lasting, call, errno, only_own),
        };
        let class = weigh(class, call, errno, when.as_deref(), &struck);
        tally.lock().unwrap_or_else(PoisonError::into_inner).add(call, errno, struck.len(), &class);
    }
}

/// A loss with the circumstances. None if what was hit cannot fail so.
fn weigh(class: Class, call: &str, errno: &str, when: Option<&str>, struck: &[String]) -> Class {
    let Class::Lost(how) = class else { return class };
    if !struck.iter().all(|line| can_happen(line)) {
        return Class::Missed;
    }
    let (when, at) = (when.unwrap_or("for a while"), struck.first().map_or("never struck", String::as_str));
    Class::Lost(format!("{call} {errno} ({when}): {how} [{at}]"))
}

/// A fault that lasts, on an agent that an earlier one has left unharmed, or on a new one.
fn for_a_while(
    lasting: &mut Option<agent::Life>,
    call: &str,
    errno: &'static str,
    only_own: bool,
) -> (Class, Vec<String>) {
    let pace = Pace::of(call);
    let mut life = match lasting.take() {
        Some(life) if life.pace == pace => life,
        _ => match agent::running(pace) {
            Ok(life) => life,
            Err(how) => return (Class::Lost(how), Vec::new()),
        },
    };
    let (class, struck) = life.endure(call, errno, only_own);
    if !matches!(class, Class::Lost(_)) {
        *lasting = Some(life);
    }
    (class, struck)
}

/// Calls that nobody has thought of yet.
fn unknown(counts: &Counts, findings: &mut Findings) {
    for call in counts.0.keys() {
        if matches!(row(call), Err(None)) {
            findings.lost(format!("{call} is made, and the table of errors has no row for it"));
        }
    }
}

/// What to try, as far as the calls are made at all.
fn trials(effort: Effort, all: &Counts, own: &Counts) -> Vec<Trial> {
    let mut trials = Vec::new();
    let only = std::env::var(ONLY).ok();
    for row in ROWS.iter().filter(|row| only.as_deref().is_none_or(|only| only == row.call)) {
        for (counts, errnos, only_own) in [(own, row.disk, true), (all, row.any, false)] {
            let Some(count) = counts.0.get(row.call) else { continue };
            for (place, errno) in errnos.iter().enumerate() {
                let trial = |when| Trial { call: row.call, errno, when, only_own };
                let lasting = || trial(None);
                match effort {
                    // One fault for each call.
                    Effort::Short if place > 0 || (!only_own && !row.disk.is_empty()) => {}
                    Effort::Short => trials.extend(middle(count).map(|when| trial(Some(when)))),
                    Effort::Full => {
                        trials.extend(moments(count).into_iter().map(|when| trial(Some(when))));
                        // An interruption is nothing that lasts.
                        trials.extend((*errno != "EINTR" && always_can(row.call)).then(lasting));
                    }
                }
            }
        }
    }
    trials
}

/// The one in the middle, of those that can fail.
fn middle(count: &Count) -> Option<String> {
    count.can_fail.get(count.can_fail.len() / 2).map(u64::to_string)
}

/// The first, the middle and the last that a thread makes and that can fail.
fn moments(count: &Count) -> Vec<String> {
    let all = &count.can_fail;
    let mut moments: Vec<u64> =
        [all.first(), all.get(all.len() / 2), all.last()].into_iter().flatten().copied().collect();
    moments.dedup();
    moments.iter().map(u64::to_string).collect()
}

fn report(tally: &Tally, counts: &Counts, findings: &mut Findings) {
    let (faults, struck) = tally.sums();
    findings.tried(faults, format!("a fault in a life, for which calls failed {struck} times"));
    let (cells, hit, missed) = tally.coverage();
    findings.saw(format!(
        "{hit} of {cells} cells of the table were struck; not made where it was tried: {}",
        missed.join(", ")
    ));
    for (reason, calls) in LEFT_ALONE {
        let made: Vec<&str> = calls.iter().copied().filter(|call| counts.0.contains_key(*call)).collect();
        if !made.is_empty() {
            findings.saw(format!("left alone: {}: {reason}", made.join(", ")));
        }
    }
    tally.lost().iter().for_each(|lost| findings.lost(lost.clone()));
    findings.table(tally.markdown());
}
