//! The state that the disturber, the watchers and the final reconciliation share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ops_protocol::Timestamp;

use super::fleet::{AGENTS, Process};
use super::query::ProcessUsage;

/// How many failures of one guarantee are listed.
const MAX_LISTED: usize = 3;

/// The agents that an interruption affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Remote,
    Agent(usize),
}

impl Scope {
    pub(super) fn includes(self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Remote => AGENTS[index].remote,
            Self::Agent(one) => one == index,
        }
    }
}

/// A time in which heartbeats or their answers may get lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interruption {
    pub(super) scope: Scope,
    pub(super) from: SystemTime,
    pub(super) to: SystemTime,
}

/// An agent that was killed and has to be restarted.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingRestart {
    pub(super) index: usize,
    pub(super) killed: Process,
    /// The time that remains for the restart. It only counts while the daemon is available.
    pub(super) remaining: Duration,
    pub(super) waited: Duration,
}

/// Counters from `/metrics`, and the length of the log before and after the request.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) counters: Counters,
    pub(super) before: u64,
    pub(super) after: u64,
}

/// The counters of one program.
#[derive(Debug, Clone)]
pub(super) enum Counters {
    /// Counters of an agent, in one incarnation.
    Agent { index: usize, incarnation: u64, delivered: u64, failed: u64, abandoned: u64 },
    /// Counters of the daemon, in one run: accepted per agent, accepted and refused in total.
    Daemon { run: usize, by_agent: Vec<(usize, u64)>, accepted: u64, refused: u64 },
}

/// The shared state of one soak run.
#[derive(Default)]
pub(super) struct RunState {
    /// Whether the daemon listens and is not stopped.
    daemon_available: AtomicBool,
    finished: AtomicBool,
    /// The number of the current run of the daemon, and its process ID.
    pub(super) daemon_run: Mutex<usize>,
    pub(super) daemon_pid: AtomicU32,
    /// The maximum usage of the daemon over all runs.
    pub(super) max_usage: Mutex<ProcessUsage>,
    pub(super) pending_restarts: Mutex<Vec<PendingRestart>>,
    pub(super) interruptions: Mutex<Vec<Interruption>>,
    pub(super) samples: Mutex<Vec<Sample>>,
    /// All disturbances and failures, with timestamps.
    notes: Mutex<Vec<String>>,
    failures: Mutex<BTreeMap<&'static str, Vec<String>>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// The times from kill to restart.
    restart_times: Mutex<Vec<Duration>>,
}

impl RunState {
    /// Records a violated guarantee.
    pub(super) fn fail(&self, guarantee: &'static str, how: String) {
        println!("    failed: {guarantee}: {how}");
        self.note(format!("FAILED {guarantee}: {how}"));
        lock(&self.failures).entry(guarantee).or_default().push(how);
    }

    /// Adds a line to the notes, which are kept after a failure.
    pub(super) fn note(&self, what: String) {
        lock(&self.notes).push(format!("{} {what}\n", Timestamp::from(SystemTime::now())));
    }

    /// All notes, in order.
    pub(super) fn notes(&self) -> String {
        lock(&self.notes).concat()
    }

    /// Counts one more of these.
    pub(super) fn count(&self, what: &'static str) {
        *lock(&self.counts).entry(what).or_default() += 1;
    }

    /// Records how long the restart of a killed agent took.
    pub(super) fn add_restart_time(&self, waited: Duration) {
        lock(&self.restart_times).push(waited);
    }

    /// The number of restarts, and the longest time of one.
    pub(super) fn restart_times(&self) -> (usize, Duration) {
        let times = lock(&self.restart_times);
        (times.len(), times.iter().max().copied().unwrap_or_default())
    }

    /// How often each was counted.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }

    /// All failures, one text for each guarantee.
    pub(super) fn failures(&self) -> Vec<String> {
        let text = |(guarantee, all): (&&str, &Vec<String>)| {
            let more = all.len().saturating_sub(MAX_LISTED);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            format!("{guarantee}: {}{more}", all[..all.len().min(MAX_LISTED)].join("; "))
        };
        lock(&self.failures).iter().map(text).collect()
    }

    /// Adds an interruption that ends now.
    pub(super) fn add_interruption(&self, scope: Scope, from: SystemTime) {
        lock(&self.interruptions).push(Interruption { scope, from, to: SystemTime::now() });
    }

    pub(super) fn is_daemon_available(&self) -> bool {
        self.daemon_available.load(Ordering::SeqCst)
    }

    pub(super) fn set_daemon_available(&self, available: bool) {
        self.daemon_available.store(available, Ordering::SeqCst);
    }

    /// A new daemon listens.
    pub(super) fn daemon_started(&self, pid: u32) {
        self.daemon_pid.store(pid, Ordering::SeqCst);
        self.set_daemon_available(true);
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::SeqCst);
    }
}

/// Locks a mutex. The data stays valid if another thread panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
