//! A table of all processes on the host at one moment, and how it is read.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use super::known_secrets::{CarriedSecret, KnownSecrets};
#[cfg(test)]
use super::secret::StartSecret;
use ops_runtime::clock;
use ops_runtime::observe::Stat;
use ops_runtime::processes::Processes;

/// The pid of the kernel's own parent of threads. What it starts has no environment.
const KERNEL_THREADS: u32 = 2;

/// How many times `/proc` is listed for one table, unless nothing new is found before. A process may start another one and end
/// between the listing and the look at it.
const LISTINGS: usize = 8;

/// How long the fields of a process that does not run are taken from earlier tables. Its resident memory may shrink meanwhile.
const MAX_FIELDS_AGE: Duration = Duration::from_secs(60);

/// A process that has ended and whose pid was reused is another one, so a pid counts with the start.
pub(crate) type Key = (u32, u64);

/// The living processes of one moment.
#[derive(Debug, Default)]
pub struct ProcessTable {
    /// By pid.
    processes: Vec<Process>,
    /// The parent and the pid of each process.
    children: Vec<(u32, u32)>,
    /// The session and the pid of each process.
    sessions: Vec<(u32, u32)>,
    /// The secrets of processes that descend from no main process.
    secrets: HashMap<u32, CarriedSecret>,
    /// Whether a process may carry a secret that could not be read yet.
    is_unsure: bool,
    /// When the look began, by the monotonic clock.
    at: Duration,
}

/// One process.
#[derive(Debug, Clone, Copy)]
struct Process {
    pid: u32,
    stat: Stat,
    /// Its CPU time right before the fields were read.
    cpu_time: Option<Duration>,
    /// When they were read, by the monotonic clock.
    read: Duration,
}

impl ProcessTable {
    /// The process with this pid.
    pub(super) fn get(&self, pid: u32) -> Option<&Stat> {
        self.process(pid).map(|process| &process.stat)
    }

    /// Whether this process is alive.
    pub(super) fn has(&self, (pid, start): Key) -> bool {
        self.get(pid).is_some_and(|stat| stat.start == start)
    }

    /// The processes of a session.
    pub(super) fn session(&self, id: u32) -> impl Iterator<Item = u32> {
        of_first(&self.sessions, id)
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &Stat)> {
        self.processes.iter().map(|process| (process.pid, &process.stat))
    }

    /// The direct children of a process.
    pub(super) fn children(&self, pid: u32) -> impl Iterator<Item = u32> {
        of_first(&self.children, pid)
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
            found.extend(self.children(pid).filter(|child| !is_barred(*child) && seen.insert(*child)));
        }
        found
    }

    #[cfg(test)]
    pub(super) fn of(processes: impl IntoIterator<Item = (u32, Stat)>) -> Self {
        let all = processes.into_iter();
        let all = all.map(|(pid, stat)| Process { pid, stat, cpu_time: None, read: Duration::ZERO });
        let mut table = Self { processes: all.collect(), ..Self::default() };
        table.index();
        table
    }

    #[cfg(test)]
    pub(super) fn carries(mut self, pid: u32, secret: &str) -> Self {
        let user = rustix::process::geteuid().as_raw();
        self.secrets.insert(pid, CarriedSecret { secret: StartSecret::presented(secret), user });
        self
    }

    fn process(&self, pid: u32) -> Option<&Process> {
        let place = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        self.processes.get(place)
    }

    fn index(&mut self) {
        self.processes.sort_unstable_by_key(|process| process.pid);
        self.children = self.iter().map(|(pid, stat)| (stat.parent, pid)).collect();
        self.sessions = self.iter().map(|(pid, stat)| (stat.session, pid)).collect();
        self.children.sort_unstable();
        self.sessions.sort_unstable();
    }

    /// Reads `/proc`. `mains` are the pids whose descendants need no secret.
    ///
    /// Of a process that has not run since `earlier`, the fields are those of `earlier`, which costs a tenth of reading them.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub(super) fn read(mains: &HashSet<u32>, known: &KnownSecrets, earlier: Option<&Self>) -> io::Result<Self> {
        let look = Look { proc: Processes::open()?, at: clock::monotonic() };
        let mut table = Self { at: look.at, ..Self::default() };
        let mut listed: Vec<u32> = Vec::new();
        for _ in 0..LISTINGS {
            let mut new = look.proc.pids()?;
            new.retain(|pid| listed.binary_search(pid).is_err());
            if new.is_empty() {
                break;
            }
            table.processes.extend(new.iter().filter_map(|pid| look.at(*pid, earlier)));
            listed.append(&mut new);
            listed.sort_unstable();
        }
        table.index();
        if let Some(earlier) = earlier {
            table.read_orphans(&look, earlier);
        }
        let of_trees: HashSet<u32> = table.closure(mains.iter().copied(), |_| false).into_iter().collect();
        let others = table
            .iter()
            .filter(|(pid, stat)| !of_trees.contains(pid) && *pid != KERNEL_THREADS && stat.parent != KERNEL_THREADS);
        (table.secrets, table.is_unsure) = known.look_up(others.map(|(pid, stat)| (pid, stat.start)));
        Ok(table)
    }

    /// A process gets another parent without running when its parent ends. Nothing else changes its place among the others: only
    /// the process itself can begin a session.
    fn read_orphans(&mut self, look: &Look, earlier: &Self) {
        let has_its_parent = |child: &Stat| {
            // A parent is never younger, so a reused pid is not taken for it.
            let is_same = |stat: &Stat| stat.start <= child.start && earlier.has((child.parent, stat.start));
            child.parent == 0 || self.get(child.parent).is_some_and(is_same)
        };
        let taken_over = self.processes.iter().filter(|process| process.read != look.at);
        let orphans = taken_over.filter(|process| !has_its_parent(&process.stat)).map(|process| process.pid);
        let orphans: Vec<u32> = orphans.collect();
        if !orphans.is_empty() {
            self.processes.retain(|process| orphans.binary_search(&process.pid).is_err());
            self.processes.extend(orphans.iter().filter_map(|pid| look.at(*pid, None)));
            self.index();
        }
    }
}

/// One look at `/proc`.
struct Look {
    proc: Processes,
    /// When it began, by the monotonic clock.
    at: Duration,
}

impl Look {
    /// The living process with this pid, as in `earlier` if it has not run since.
    fn at(&self, pid: u32, earlier: Option<&ProcessTable>) -> Option<Process> {
        // Before the fields are read: if it runs in between, the next look reads them again.
        let cpu_time = clock::cpu_time_of(pid);
        let is_unchanged = |before: &&Process| {
            let is_recent = self.at.saturating_sub(before.read) <= MAX_FIELDS_AGE;
            is_recent && cpu_time.is_some() && before.cpu_time == cpu_time
        };
        match earlier.and_then(|earlier| earlier.process(pid)).filter(is_unchanged) {
            Some(before) => Some(*before),
            None => Some(Process { pid, stat: self.proc.stat(pid)?, cpu_time, read: self.at }),
        }
    }
}

/// The second numbers of the pairs with this first one.
fn of_first(pairs: &[(u32, u32)], first: u32) -> impl Iterator<Item = u32> {
    let begin = pairs.partition_point(|pair| pair.0 < first);
    pairs.iter().skip(begin).take_while(move |pair| pair.0 == first).map(|pair| pair.1)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn read(earlier: Option<&ProcessTable>) -> ProcessTable {
        ProcessTable::read(&HashSet::new(), &KnownSecrets::default(), earlier).unwrap()
    }

    /// A shell that waits for its standard input, and a child of it that sleeps.
    fn shell_with_child() -> (Child, u32) {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; read -r line"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (shell, line.trim().parse().unwrap())
    }

    #[test]
    fn the_fields_of_a_process_that_does_not_run_are_taken_over_until_its_parent_ends() {
        let (mut shell, child) = shell_with_child();
        let first = read(None);
        let mut table = read(Some(&first));
        // It runs until it sleeps.
        while table.process(child).unwrap().read == table.at {
            table = read(Some(&table));
        }
        assert_eq!(table.children(shell.id()).collect::<Vec<_>>(), [child]);
        assert_eq!(table.process(std::process::id()).unwrap().read, table.at, "this process has run");

        shell.kill().unwrap();
        shell.wait().unwrap();
        let after = read(Some(&table));
        assert_eq!(after.get(shell.id()), None);
        assert_eq!(after.get(child).unwrap().parent, Stat::of(child).unwrap().parent, "it has another parent");
        assert_eq!(after.children(shell.id()).next(), None);
        kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn old_fields_are_read_again() {
        let (mut shell, child) = shell_with_child();
        let mut table = read(None);
        while table.process(child).unwrap().read == table.at || table.process(shell.id()).unwrap().read == table.at {
            table = read(Some(&table));
        }
        for process in &mut table.processes {
            process.stat.resident_pages = 0;
            process.read = process.read.saturating_sub(MAX_FIELDS_AGE);
        }
        let mut recent = read(None);
        for process in &mut recent.processes {
            process.cpu_time = clock::cpu_time_of(process.pid);
            process.stat.resident_pages = 0;
        }
        assert_eq!(read(Some(&recent)).get(child).unwrap().resident_pages, 0, "taken over");
        assert_ne!(read(Some(&table)).get(child).unwrap().resident_pages, 0);
        shell.kill().unwrap();
        shell.wait().unwrap();
        kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::KILL).unwrap();
    }
}
