//! All processes of the host, for looks at many of them: one descriptor for `/proc`, and few system calls for each process.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::retry_on_intr;

use crate::observe::Stat;

/// The room for one part of the list of processes, in bytes. A process takes 24.
const LIST_BYTES: usize = 32 * 1024;

/// `/proc`.
#[derive(Debug)]
pub struct Processes(OwnedFd);

impl Processes {
    /// Opens `/proc`.
    ///
    /// # Errors
    ///
    /// If there is none, or no descriptor is left.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(retry_on_intr(|| rustix::fs::openat(CWD, "/proc", flags, Mode::empty()))?))
    }

    /// The pids of all processes, in ascending order.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        rustix::fs::seek(&self.0, SeekFrom::Start(0))?;
        let mut room = Box::new([const { MaybeUninit::uninit() }; LIST_BYTES]);
        let mut entries = RawDir::new(&self.0, &mut *room);
        let mut pids = Vec::new();
        while let Some(entry) = entries.next() {
            pids.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        }
        pids.sort_unstable();
        Ok(pids)
    }

    /// The fields of the living process that has this ID now.
    #[must_use]
    pub fn stat(&self, pid: u32) -> Option<Stat> {
        Stat::read(&self.0, &format!("{pid}/stat")).ok().filter(|stat| !stat.zombie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_the_list() {
        let processes = Processes::open().unwrap();
        let own = std::process::id();
        for _ in 0..2 {
            let pids = processes.pids().unwrap();
            assert!(pids.contains(&own) && pids.is_sorted(), "{pids:?}");
        }
        assert_eq!(processes.stat(own).unwrap().start, Stat::of(own).unwrap().start);
    }

    #[test]
    fn a_process_that_is_gone_has_no_fields() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(Processes::open().unwrap().stat(pid), None);
    }
}
