//! A table of all processes on the host, and who shares one.
//!
//! All trees share one scan of `/proc`. With 4,000 processes it takes 50 to 100 ms, so it runs on a blocking thread.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use smol::lock::Mutex as AsyncMutex;

use super::secret::{self, StartSecret};
use ops_runtime::blocking;
use ops_runtime::observe::Stat;

/// The pid of the kernel's own parent of threads. What it starts has no environment.
const KERNEL_THREADS: u32 = 2;

/// A process that has ended and whose pid was reused is another one, so a pid counts with the start.
pub(crate) type Key = (u32, u64);

/// The living processes of one moment.
#[derive(Debug, Default)]
pub struct ProcessTable {
    processes: HashMap<u32, Stat>,
    children: HashMap<u32, Vec<u32>>,
    /// The secrets of processes that descend from no main process.
    secrets: HashMap<u32, StartSecret>,
}

impl ProcessTable {
    /// The process with this pid.
    pub(super) fn get(&self, pid: u32) -> Option<&Stat> {
        self.processes.get(&pid)
    }

    /// Whether this process is alive.
    pub(super) fn has(&self, (pid, start): Key) -> bool {
        self.get(pid).is_some_and(|stat| stat.start == start)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Stat)> {
        self.processes.iter().map(|(pid, stat)| (*pid, stat))
    }

    /// The direct children of a process.
    pub(super) fn children(&self, pid: u32) -> &[u32] {
        self.children.get(&pid).map_or(&[], Vec::as_slice)
    }

    /// The secret that a process carries, if it descends from no main process.
    pub(super) fn secret(&self, pid: u32) -> Option<&StartSecret> {
        self.secrets.get(&pid)
    }

    /// The processes that carry a secret and descend from no main process.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (u32, &StartSecret)> {
        self.secrets.iter().map(|(pid, secret)| (*pid, secret))
    }

    /// The roots with all their descendants. The search does not enter `barred` processes.
    pub(super) fn closure(&self, roots: impl IntoIterator<Item = u32>, barred: &HashSet<u32>) -> Vec<u32> {
        let mut seen: HashSet<u32> = HashSet::new();
        let mut found: Vec<u32> = roots.into_iter().filter(|pid| seen.insert(*pid)).collect();
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            next += 1;
            found.extend(self.children(pid).iter().filter(|child| !barred.contains(child) && seen.insert(**child)));
        }
        found
    }

    #[cfg(test)]
    pub(super) fn of(processes: impl IntoIterator<Item = (u32, Stat)>) -> Self {
        let mut table = Self::default();
        for (pid, stat) in processes {
            table.insert(pid, stat);
        }
        table
    }

    #[cfg(test)]
    pub(super) fn carries(mut self, pid: u32, secret: &str) -> Self {
        self.secrets.insert(pid, StartSecret::presented(secret));
        self
    }

    fn insert(&mut self, pid: u32, stat: Stat) {
        self.children.entry(stat.parent).or_default().push(pid);
        self.processes.insert(pid, stat);
    }

    /// Reads `/proc`. `mains` are the pids whose descendants need no secret.
    fn read(mains: &HashSet<u32>, known: &KnownSecrets) -> io::Result<Self> {
        let mut table = Self::default();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(stat) = Stat::of(pid).ok().filter(|stat| !stat.zombie) {
                table.insert(pid, stat);
            }
        }
        let of_trees: HashSet<u32> = table.closure(mains.iter().copied(), &HashSet::new()).into_iter().collect();
        let others = table
            .iter()
            .filter(|(pid, stat)| !of_trees.contains(pid) && *pid != KERNEL_THREADS && stat.parent != KERNEL_THREADS);
        table.secrets = known.look_up(others.map(|(pid, stat)| (pid, stat.start)));
        Ok(table)
    }
}

/// What is known of the environments of processes outside of all trees. The environment is read once for each process.
#[derive(Debug, Default)]
struct KnownSecrets(Mutex<HashMap<Key, Option<StartSecret>>>);

impl KnownSecrets {
    fn look_up(&self, processes: impl Iterator<Item = Key>) -> HashMap<u32, StartSecret> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = HashMap::new();
        let mut found = HashMap::new();
        for key in processes {
            let Some(secret) = known.remove(&key).or_else(|| secret_of(key.0)) else { continue };
            if let Some(secret) = &secret {
                found.insert(key.0, secret.clone());
            }
            present.insert(key, secret);
        }
        *known = present;
        found
    }
}

/// The secret in the environment of a process of this user. `None`: it cannot be told yet, because the environment reads empty
/// while the process executes a program.
fn secret_of(pid: u32) -> Option<Option<StartSecret>> {
    let directory = format!("/proc/{pid}");
    let Ok(environment) = fs::read(format!("{directory}/environ")) else { return Some(None) };
    if environment.is_empty() {
        return None;
    }
    let value = |line: &[u8]| {
        let value = line.strip_prefix(secret::VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        Some(StartSecret::presented(std::str::from_utf8(value).ok()?))
    };
    let own_user = rustix::process::geteuid().as_raw();
    let is_own = fs::metadata(directory).is_ok_and(|metadata| metadata.uid() == own_user);
    Some(environment.split(|byte| *byte == 0).find_map(value).filter(|_| is_own))
}

/// Scans `/proc` for everyone who asks.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The number of scans that have begun.
    begun: Cell<u64>,
    latest: AsyncMutex<(u64, Rc<ProcessTable>)>,
    secrets: Arc<KnownSecrets>,
    mains: RefCell<HashSet<u32>>,
}

impl Scanner {
    /// Sets the main processes, whose descendants are recognised without a secret.
    pub(super) fn set_main(&self, pid: u32, is_main: bool) {
        let mut mains = self.mains.borrow_mut();
        if is_main {
            mains.insert(pid)
        } else {
            mains.remove(&pid)
        };
    }

    /// The main processes.
    pub(super) fn mains(&self) -> HashSet<u32> {
        self.mains.borrow().clone()
    }

    /// A table that was begun after this call. Callers that wait at the same time share it.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read, or the system refuses a thread.
    pub(super) async fn scan(&self) -> io::Result<Rc<ProcessTable>> {
        let asked = self.begun.get();
        let mut latest = self.latest.lock().await;
        if latest.0 > asked {
            return Ok(Rc::clone(&latest.1));
        }
        let number = self.begun.get() + 1;
        self.begun.set(number);
        let (mains, secrets) = (self.mains(), Arc::clone(&self.secrets));
        let table = blocking::unblock(move || ProcessTable::read(&mains, &secrets)).await??;
        *latest = (number, Rc::new(table));
        Ok(Rc::clone(&latest.1))
    }
}
