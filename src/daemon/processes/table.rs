//! A table of all processes on the host, and who shares one.
//!
//! All trees share one scan of `/proc`. With 4,000 processes it takes 50 to 100 ms, so it runs on a blocking thread.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use smol::lock::Mutex as AsyncMutex;

use super::secret::{self, StartSecret};
use ops_runtime::blocking;
use ops_runtime::clock;
use ops_runtime::observe::Stat;

/// The pid of the kernel's own parent of threads. What it starts has no environment.
const KERNEL_THREADS: u32 = 2;

/// How many times `/proc` is listed for one table, unless nothing new is found before. A process may start another one and end
/// between the listing and the look at it.
const LISTINGS: usize = 8;

/// A process that has ended and whose pid was reused is another one, so a pid counts with the start.
pub(crate) type Key = (u32, u64);

/// A secret in the environment of a process. A process that knows the secret can put it there, so it counts with its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CarriedSecret {
    pub(super) secret: StartSecret,
    /// The user of the process.
    pub(super) user: u32,
}

impl CarriedSecret {
    /// Whether the process runs as `user`, or as the user of the daemon.
    pub(super) fn is_of(&self, user: Option<u32>) -> bool {
        Some(self.user) == user || self.user == rustix::process::geteuid().as_raw()
    }
}

/// The living processes of one moment.
#[derive(Debug, Default)]
pub struct ProcessTable {
    processes: HashMap<u32, Stat>,
    children: HashMap<u32, Vec<u32>>,
    /// The processes of each session.
    sessions: HashMap<u32, Vec<u32>>,
    /// The secrets of processes that descend from no main process.
    secrets: HashMap<u32, CarriedSecret>,
    /// Whether a process may carry a secret that could not be read yet.
    is_unsure: bool,
    /// When the look began, by the monotonic clock.
    at: Duration,
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

    /// The processes of a session.
    pub(super) fn session(&self, id: u32) -> &[u32] {
        self.sessions.get(&id).map_or(&[], Vec::as_slice)
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &Stat)> {
        self.processes.iter().map(|(pid, stat)| (*pid, stat))
    }

    /// The direct children of a process.
    pub(super) fn children(&self, pid: u32) -> &[u32] {
        self.children.get(&pid).map_or(&[], Vec::as_slice)
    }

    /// The secret that a process carries, if it descends from no main process.
    pub(super) fn secret(&self, pid: u32) -> Option<&CarriedSecret> {
        self.secrets.get(&pid)
    }

    /// The processes that carry a secret and descend from no main process.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (u32, &CarriedSecret)> {
        self.secrets.iter().map(|(pid, secret)| (*pid, secret))
    }

    /// When the look began, by the monotonic clock.
    pub(super) const fn at(&self) -> Duration {
        self.at
    }

    /// Whether a process may carry a secret that is not known yet. Then a later table may know more.
    pub(super) const fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    /// The roots with all their descendants. The search does not enter barred processes.
    pub(super) fn closure(&self, roots: impl IntoIterator<Item = u32>, is_barred: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut seen: HashSet<u32> = HashSet::new();
        let mut found: Vec<u32> = roots.into_iter().filter(|pid| seen.insert(*pid)).collect();
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            next += 1;
            found.extend(self.children(pid).iter().filter(|child| !is_barred(**child) && seen.insert(**child)));
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
        let user = rustix::process::geteuid().as_raw();
        self.secrets.insert(pid, CarriedSecret { secret: StartSecret::presented(secret), user });
        self
    }

    fn insert(&mut self, pid: u32, stat: Stat) {
        self.children.entry(stat.parent).or_default().push(pid);
        self.sessions.entry(stat.session).or_default().push(pid);
        self.processes.insert(pid, stat);
    }

    /// Reads `/proc`. `mains` are the pids whose descendants need no secret.
    fn read(mains: &HashSet<u32>, known: &KnownSecrets) -> io::Result<Self> {
        let mut table = Self { at: clock::monotonic(), ..Self::default() };
        let mut listed = HashSet::new();
        for _ in 0..LISTINGS {
            let new: Vec<u32> = all_pids()?.into_iter().filter(|pid| listed.insert(*pid)).collect();
            if new.is_empty() {
                break;
            }
            for pid in new {
                if let Some(stat) = Stat::of_living(pid) {
                    table.insert(pid, stat);
                }
            }
        }
        let of_trees: HashSet<u32> = table.closure(mains.iter().copied(), |_| false).into_iter().collect();
        let others = table
            .iter()
            .filter(|(pid, stat)| !of_trees.contains(pid) && *pid != KERNEL_THREADS && stat.parent != KERNEL_THREADS);
        (table.secrets, table.is_unsure) = known.look_up(others.map(|(pid, stat)| (pid, stat.start)));
        Ok(table)
    }
}

fn all_pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(pids)
}

/// How often the environment of a process may read empty before the process counts as one without variables.
const MAX_UNSURE: u8 = 16;

/// What is known of one environment.
#[derive(Debug)]
enum Carried {
    Secret(CarriedSecret),
    Nothing,
    /// It read empty so many times. It does so while the process executes a program.
    Unsure(u8),
}

/// What is known of the environments of processes outside of all trees. The environment is read once for each process.
#[derive(Debug, Default)]
struct KnownSecrets(Mutex<HashMap<Key, Carried>>);

impl KnownSecrets {
    /// The secrets of these processes, and whether one of them may carry one that could not be read.
    fn look_up(&self, processes: impl Iterator<Item = Key>) -> (HashMap<u32, CarriedSecret>, bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = HashMap::new();
        let mut found = HashMap::new();
        let mut is_unsure = false;
        for key in processes {
            let carried = match known.remove(&key) {
                Some(Carried::Unsure(times)) => read_again(key.0, times),
                None => read_again(key.0, 0),
                Some(known) => known,
            };
            match &carried {
                Carried::Secret(secret) => drop(found.insert(key.0, secret.clone())),
                Carried::Nothing => {}
                Carried::Unsure(_) => is_unsure = true,
            }
            present.insert(key, carried);
        }
        *known = present;
        (found, is_unsure)
    }
}

fn read_again(pid: u32, times: u8) -> Carried {
    if let Some(secret) = secret_of(pid) {
        return secret.map_or(Carried::Nothing, Carried::Secret);
    }
    // While a program is executed, the arguments read empty too. But by now the execution may be over, so one look is not enough.
    let has_arguments = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| !arguments.is_empty());
    let times = times + if has_arguments { MAX_UNSURE / 2 } else { 1 };
    if times < MAX_UNSURE { Carried::Unsure(times) } else { Carried::Nothing }
}

/// The secret in the environment of a process. `None`: the environment reads empty.
fn secret_of(pid: u32) -> Option<Option<CarriedSecret>> {
    let directory = format!("/proc/{pid}");
    let environment = match fs::read(format!("{directory}/environ")) {
        Ok(environment) => environment,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => of_another_thread(&directory),
        Err(_) => return Some(None),
    };
    if environment.is_empty() {
        return None;
    }
    let value = |line: &[u8]| {
        let value = line.strip_prefix(secret::VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        Some(StartSecret::presented(std::str::from_utf8(value).ok()?))
    };
    let secret = environment.split(|byte| *byte == 0).find_map(value);
    // A process that is gone carries nothing.
    Some(secret.and_then(|secret| Some(CarriedSecret { secret, user: fs::metadata(directory).ok()?.uid() })))
}

/// The environment of a process whose first thread has ended. Without that thread, `/proc/PID/environ` cannot be read.
fn of_another_thread(directory: &str) -> Vec<u8> {
    let Ok(threads) = fs::read_dir(format!("{directory}/task")) else { return Vec::new() };
    let mut environments = threads.filter_map(|thread| fs::read(thread.ok()?.path().join("environ")).ok());
    environments.find(|environment| !environment.is_empty()).unwrap_or_default()
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
    pub(super) fn mains(&self) -> Ref<'_, HashSet<u32>> {
        self.mains.borrow()
    }

    /// The latest table if it is not older than `max_age` and shows this process, or else a new one.
    ///
    /// # Errors
    ///
    /// As [`scan`](Self::scan).
    pub(super) async fn recent(&self, max_age: Duration, shown: Key) -> io::Result<Rc<ProcessTable>> {
        // It waits for a scan that has begun, and whose table is then the latest.
        let latest = self.latest.lock().await.1.clone();
        let is_recent = clock::monotonic().saturating_sub(latest.at) <= max_age;
        if is_recent && latest.has(shown) { Ok(latest) } else { self.scan().await }
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
        let (mains, secrets) = (self.mains().clone(), Arc::clone(&self.secrets));
        let table = blocking::unblock(move || ProcessTable::read(&mains, &secrets)).await??;
        *latest = (number, Rc::new(table));
        Ok(Rc::clone(&latest.1))
    }
}
