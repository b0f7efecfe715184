//! Which processes there are, by the kernel's word alone: the file that each one executes.
//!
//! A program of a test is a copy in a directory of the test. A process that executes it is of the test, whatever its parent,
//! session, environment and arguments are.

use std::fs;
use std::path::{Path, PathBuf};

use ops_runtime::observe::Stat;

/// A process. A pid alone may be reused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) start: u64,
    /// The file that it executes.
    pub(crate) program: PathBuf,
}

impl Process {
    /// The live process that has this pid now, if its program can be read.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = Stat::of(pid).ok().filter(|stat| !stat.zombie)?;
        Some(Self { pid, start: stat.start, program: program(pid)? })
    }

    /// The start secret in its environment, if that can be read.
    pub(crate) fn secret(&self) -> Option<Vec<u8>> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find(|variable| variable.starts_with(b"OPS_AGENT_START_SECRET=")).map(<[u8]>::to_vec)
    }

    /// Whether it is still alive. A process whose first thread has ended is alive as long as another thread is.
    pub(crate) fn is_alive(&self) -> bool {
        Stat::of(self.pid).is_ok_and(|stat| !stat.zombie && stat.start == self.start)
    }
}

/// The live processes whose program lies in this directory.
pub(crate) fn in_directory(directory: &Path) -> Vec<Process> {
    let pids = fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::of).filter(|process| process.program.starts_with(directory)).collect()
}

/// The program of a process. The first thread of a process may have ended; then another thread knows it.
fn program(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok().or_else(|| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        tasks.filter_map(|task| fs::read_link(task.ok()?.path().join("exe")).ok()).next()
    })
}
