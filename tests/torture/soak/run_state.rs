//! What the one who disturbs, those who watch and the one who adds up have to tell each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ops_protocol::Timestamp;

use super::fleet::{MEMBERS, Process};
use super::query::ProcessUsage;

/// How many findings of a kind are written out.
const WRITTEN_OUT: usize = 3;

/// Whom an interruption concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    Everybody,
    Far,
    Agent(usize),
}

impl Whom {
    pub(super) fn concerns(self, who: usize) -> bool {
        match self {
            Self::Everybody => true,
            Self::Far => MEMBERS[who].far,
            Self::Agent(one) => one == who,
        }
    }
}

/// A time in which a heartbeat may get lost on its way, or its answer may.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interruption {
    pub(super) whom: Whom,
    pub(super) from: SystemTime,
    pub(super) to: SystemTime,
}

/// An agent that was killed and has to come back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owed {
    pub(super) who: usize,
    pub(super) dead: Process,
    /// So much time the daemon has left for it, its own absences not counted.
    pub(super) left: Duration,
    pub(super) waited: Duration,
}

/// Counters as an interface showed them at a moment, and how long the log was before and after.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) of: Counted,
    pub(super) before: u64,
    pub(super) after: u64,
}

/// Whose counters, and what they said.
#[derive(Debug, Clone)]
pub(super) enum Counted {
    /// An agent's `/metrics`, in one of its incarnations.
    Agent { who: usize, incarnation: u64, delivered: u64, failed: u64, abandoned: u64 },
    /// The daemon's, in one of its lives: accepted of each agent, and accepted and refused of all.
    Daemon { life: usize, by_agent: Vec<(usize, u64)>, accepted: u64, refused: u64 },
}

/// All of it.
#[derive(Default)]
pub(super) struct Diary {
    /// The daemon listens and is not stopped.
    pub(super) attended: AtomicBool,
    pub(super) over: AtomicBool,
    /// Which life of the daemon this is, and its process.
    pub(super) life: Mutex<usize>,
    pub(super) daemon: AtomicU32,
    /// The most memory and descriptors that the daemon had at any time in any life.
    pub(super) most: Mutex<ProcessUsage>,
    pub(super) owed: Mutex<Vec<Owed>>,
    pub(super) interruptions: Mutex<Vec<Interruption>>,
    pub(super) samples: Mutex<Vec<Sample>>,
    /// What was done and what was lost, when.
    notes: Mutex<Vec<String>>,
    lost: Mutex<BTreeMap<&'static str, Vec<String>>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// How long those took who were killed and came back.
    waits: Mutex<Vec<Duration>>,
}

impl Diary {
    /// A promise was not kept.
    pub(super) fn lost(&self, promise: &'static str, how: String) {
        println!("    lost: {promise}: {how}");
        self.note(format!("LOST {promise}: {how}"));
        lock(&self.lost).entry(promise).or_default().push(how);
    }

    /// To be read if something is lost.
    pub(super) fn note(&self, what: String) {
        lock(&self.notes).push(format!("{} {what}\n", Timestamp::from(SystemTime::now())));
    }

    /// All of it, in order.
    pub(super) fn notes(&self) -> String {
        lock(&self.notes).concat()
    }

    /// Once more.
    pub(super) fn count(&self, what: &'static str) {
        *lock(&self.counts).entry(what).or_default() += 1;
    }

    /// Somebody who was killed is back.
    pub(super) fn back_after(&self, waited: Duration) {
        lock(&self.waits).push(waited);
    }

    /// How many came back, and the longest that one took.
    pub(super) fn waits(&self) -> (usize, Duration) {
        let waits = lock(&self.waits);
        (waits.len(), waits.iter().max().copied().unwrap_or_default())
    }

    /// How often.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }

    /// What was lost, a sentence for each promise.
    pub(super) fn losses(&self) -> Vec<String> {
        let sentence = |(promise, all): (&&str, &Vec<String>)| {
            let more = all.len().saturating_sub(WRITTEN_OUT);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            format!("{promise}: {}{more}", all[..all.len().min(WRITTEN_OUT)].join("; "))
        };
        lock(&self.lost).iter().map(sentence).collect()
    }

    /// From then until now.
    pub(super) fn interrupted(&self, whom: Whom, from: SystemTime) {
        lock(&self.interruptions).push(Interruption { whom, from, to: SystemTime::now() });
    }

    pub(super) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::SeqCst)
    }

    pub(super) fn attend(&self, attended: bool) {
        self.attended.store(attended, Ordering::SeqCst);
    }

    /// Another daemon is there.
    pub(super) fn begins(&self, pid: u32) {
        self.daemon.store(pid, Ordering::SeqCst);
        self.attend(true);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// What a panic elsewhere left behind is still of use.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
