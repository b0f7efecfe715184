//! What a tree uses: the sums over its members.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::param::page_size;
use statemachine::supervision::Identity;

use super::table::Key;
use super::trees::Trees;
use ops_runtime::blocking;
use ops_runtime::observe::Stat;

/// What a tree uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeUsage {
    /// The CPU time of all members and of their children that have ended, in clock ticks.
    pub cpu_ticks: u64,
    /// The resident memory of all members, in bytes. A shared page counts once for each.
    pub resident_bytes: u64,
    /// The number of processes.
    pub processes: usize,
    /// When the look at them began, by the monotonic clock.
    pub at: Duration,
}

impl Trees {
    /// What a tree uses, or used at most `max_age` ago. `None`: no process of it is left.
    ///
    /// The trees share the looks at all processes. Without an age, each tree would need one of its own. Memory above
    /// `memory_threshold` is read again, because that of a process that does not run may have shrunk since.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub async fn usage(
        &self,
        main: Identity,
        max_age: Duration,
        memory_threshold: Option<u64>,
    ) -> io::Result<Option<TreeUsage>> {
        let Some(tree) = self.get(main) else { return Ok(None) };
        let table = self.recent(&tree, max_age).await?;
        let members = self.members_at(&tree, &table).await?;
        let stats: Vec<&Stat> = members.iter().filter_map(|key| table.get(key.0)).collect();
        let sum = |part: fn(&Stat) -> u64| stats.iter().map(|stat| part(stat)).fold(0, u64::saturating_add);
        let mut resident_bytes = sum(|stat| stat.resident_pages.saturating_mul(page_size() as u64));
        if memory_threshold.is_some_and(|threshold| resident_bytes > threshold) {
            resident_bytes = resident_memory(members).await?;
        }
        let usage = TreeUsage {
            cpu_ticks: sum(|stat| stat.cpu_ticks.saturating_add(stat.children_cpu_ticks)),
            resident_bytes,
            processes: stats.len(),
            at: table.at(),
        };
        Ok((usage.processes > 0).then_some(usage))
    }

    /// The number of open files of a tree: the sum over its members. `None`: no process of it is left.
    ///
    /// # Errors
    ///
    /// If a member cannot be read, as one of another user, or the system refuses a thread.
    pub async fn open_files(&self, main: Identity) -> io::Result<Option<u64>> {
        self.sum_over_known(main, open_files_of).await
    }

    /// The memory of a tree in which each shared page counts once: the sum of PSS, in bytes. `None`: no process of it is left.
    /// Reading it costs much more than [`usage`](Self::usage), so only a tree over its threshold is worth it.
    ///
    /// # Errors
    ///
    /// If a member cannot be read, as one of another user, or the system refuses a thread.
    pub(crate) async fn proportional_memory(&self, main: Identity) -> io::Result<Option<u64>> {
        self.sum_over_known(main, proportional_memory_of).await
    }

    /// The sum over the members at the last search. `of` gives nothing for a process that is gone.
    async fn sum_over_known(&self, main: Identity, of: fn(u32) -> io::Result<Option<u64>>) -> io::Result<Option<u64>> {
        let Some(tree) = self.get(main) else { return Ok(None) };
        let members = tree.known.borrow().clone();
        let sum = move || {
            let mut sum: Option<u64> = None;
            for key in members {
                if let Some(part) = of(key.0)? {
                    sum = Some(sum.unwrap_or_default().saturating_add(part));
                }
            }
            Ok(sum)
        };
        blocking::unblock(sum).await?
    }
}

/// The resident memory that these processes have now, in bytes.
async fn resident_memory(members: Vec<Key>) -> io::Result<u64> {
    let sum = move || {
        let present = members.iter().filter_map(|key| Stat::of_living(key.0).filter(|stat| stat.start == key.1));
        let pages = present.map(|stat| stat.resident_pages).fold(0, u64::saturating_add);
        pages.saturating_mul(page_size() as u64)
    };
    blocking::unblock(sum).await
}

/// The number of open files of a process, see proc_pid_fd(5). `None`: it is gone.
fn open_files_of(pid: u32) -> io::Result<Option<u64>> {
    let count = || fs::read_dir(format!("/proc/{pid}/fd"))?.try_fold(0, |count, entry| entry.map(|_| count + 1));
    match count() {
        Err(error) if is_gone(&error) => Ok(None),
        counted => counted.map(Some),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

/// The PSS of a process in bytes, see proc_pid_smaps(5). `None`: it is gone.
fn proportional_memory_of(pid: u32) -> io::Result<Option<u64>> {
    let text = match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(text) => text,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let kibibytes =
        text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_ascii_whitespace().next()?.parse().ok());
    Ok(kibibytes.map(|kibibytes: u64| kibibytes.saturating_mul(1024)))
}
