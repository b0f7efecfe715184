//! The children of this process: those that it started, and orphans that the kernel gave it.
//!
//! As PID 1 or as a child subreaper, a process becomes the parent of descendants that lose theirs. It has to reap them, or they
//! stay zombies for ever.

use std::fs;
use std::io;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_io::Timer;
use async_signal::{Signal, Signals};
use futures_lite::StreamExt as _;
use rustix::process::{Pid, WaitId, WaitIdOptions, child_subreaper, getpid, set_child_subreaper, waitid};
use smol::LocalExecutor;

use crate::observe::Stat;
use crate::own_process;

/// The time from the news of an exit to the search for zombies, so that a burst of exits costs one search.
const REAP_AFTER: Duration = Duration::from_millis(50);

/// The children that this process started, sorted. The code that started one waits for it. In one block of memory, because many
/// threads start children.
static STARTED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// The number of orphans that were reaped.
static REAPED: AtomicU64 = AtomicU64::new(0);

/// Starts a child. It is not reaped here until it is [released](release).
///
/// # Errors
///
/// As [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    // Under the lock, or the child could be reaped as an orphan before it is known.
    let mut started = started();
    let child = command.spawn()?;
    if let Err(place) = started.binary_search(&child.id()) {
        started.insert(place, child.id());
    }
    Ok(child)
}

/// The child with this pid has been waited for.
pub fn release(pid: u32) {
    let mut started = started();
    if let Ok(place) = started.binary_search(&pid) {
        started.remove(place);
    }
}

/// The number of orphans that were reaped so far.
#[must_use]
pub fn reaped() -> u64 {
    REAPED.load(Ordering::Relaxed)
}

/// Makes this process the parent of descendants that lose theirs.
///
/// # Errors
///
/// If the kernel refuses. Then PID 1 becomes their parent.
pub fn adopt() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Whether this process is the parent of descendants that lose theirs.
#[must_use]
pub fn are_adopted() -> bool {
    own_process::is_init() || matches!(child_subreaper(), Ok(Some(_)))
}

/// The children that this process did not start, zombies included.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub fn adopted() -> io::Result<Vec<u32>> {
    adopted_but(&started())
}

/// Reaps orphans as they end, for as long as the executor runs.
///
/// # Errors
///
/// The process has no descriptors left.
pub fn reap_in_background(executor: &LocalExecutor<'static>) -> io::Result<()> {
    let mut ended = Signals::new([Signal::Child])?;
    executor
        .spawn(async move {
            reap();
            while ended.next().await.is_some() {
                Timer::after(REAP_AFTER).await;
                reap();
            }
        })
        .detach();
    Ok(())
}

/// Reaps every orphan that has ended.
fn reap() {
    // The lock is held, so no child is started in between.
    let started = started();
    for pid in adopted_but(&started).unwrap_or_default() {
        let Some(child) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
        if matches!(waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG), Ok(Some(_))) {
            REAPED.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(pid, "orphan reaped");
        }
    }
}

fn started() -> MutexGuard<'static, Vec<u32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn adopted_but(started: &[u32]) -> io::Result<Vec<u32>> {
    Ok(children()?.into_iter().filter(|pid| started.binary_search(pid).is_err()).collect())
}

/// Each thread has children of its own.
fn children() -> io::Result<Vec<u32>> {
    let mut all = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        match fs::read_to_string(thread?.path().join("children")) {
            Ok(text) => all.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok())),
            // A kernel without CONFIG_PROC_CHILDREN, or a thread that has ended.
            Err(_) => return children_by_parent(),
        }
    }
    Ok(all)
}

fn children_by_parent() -> io::Result<Vec<u32>> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids.filter(|pid| Stat::of(*pid).is_ok_and(|stat| stat.parent == own)).collect())
}
