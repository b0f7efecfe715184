//! The processes of the agents: start, watch, signal, clean up, reap. Nothing is decided here.
//!
//! * [`start()`] starts a process in a process group of its own. [`Process::adopt`] takes over a process that an earlier
//!   daemon started. [`find()`] searches for processes of which an earlier daemon left no record.
//! * [`Process`] watches a process by pidfd, also where its parent is another process.
//! * [`tail`] and [`rotate`] read and cut its output.
//!
//! Children are std's, and rustix waits for them. async-process reaps a child before it reports the exit. From then on the pid,
//! which is also the number of the group, may belong to another process. Here a child is reaped last.
//!
//! The death of the daemon kills no process: dropping a [`Process`] leaves a living process as it is.

pub(crate) mod descriptors;
pub(crate) mod find;
pub(crate) mod output;
pub(crate) mod start;

pub(crate) use descriptors::raise_limit as raise_open_files_limit;
pub(crate) use find::{SupervisionTag, canonical_work_dir, find, identity_of};
pub(crate) use output::{Rotation, rotate, tail};
pub(crate) use start::{Launch, start};

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_io::{Async, Timer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal as Number, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group,
    pidfd_open, pidfd_send_signal, waitid,
};
use statemachine::supervision::{Exit, Identity, Signal};

use ops_runtime::blocking;
use ops_runtime::observe::Stat;

/// The polling interval for a process without a pidfd: no descriptor or no room in epoll was left.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The main process of an agent, alive or not yet reaped.
#[derive(Debug)]
pub struct Process {
    identity: Identity,
    pid: Pid,
    tag: SupervisionTag,
    /// Whether it is a child of this process. Then its pid cannot be reused before this value is dropped.
    child: bool,
    /// `None`: it is polled every [`POLL_INTERVAL`].
    watch: Option<Async<OwnedFd>>,
    output_from: u64,
}

impl Process {
    /// Takes over a process that an earlier daemon started with this tag. `None`: it is gone, and its pid may be reused.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read. That proves nothing: try again.
    pub fn adopt(identity: Identity, tag: SupervisionTag) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        // The pidfd comes first, so the identity that is checked is that of the process behind the pidfd.
        let watch = watch(pid);
        let proved = identity_of(identity.pid)? == Some(identity);
        Ok(proved.then_some(Self { identity, pid, tag, child: false, watch, output_from: 0 }))
    }

    /// Its identity.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// The offset in the log, in bytes, at which its own output begins; 0 for an adopted process. For [`tail`].
    #[must_use]
    pub const fn output_from(&self) -> u64 {
        self.output_from
    }

    /// Waits for its exit. It is not reaped, so its group still belongs to it.
    pub async fn exited(&self) -> Exit {
        loop {
            if let Some(exit) = self.exit() {
                return exit;
            }
            match &self.watch {
                Some(pidfd) if pidfd.readable().await.is_ok() => {}
                Some(_) | None => drop(Timer::after(POLL_INTERVAL).await),
            }
        }
    }

    /// Sends a signal to every process of its group, and to the process itself if it has left the group. `false`: no process
    /// is left.
    ///
    /// SIGCONT follows SIGTERM, because a stopped process does not handle SIGTERM.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, as for a process that now runs as another user.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        // The pid of a process that is not our child may have been reused, so it must be alive now.
        if !self.holds_pid() && !self.is_alive() {
            return Ok(false);
        }
        let sent = match signal {
            Signal::Term => self.send(Number::TERM)? | self.send(Number::CONT)?,
            Signal::Kill => self.send(Number::KILL)?,
        };
        Ok(sent)
    }

    /// Kills what is left in its group. Call it after [`exited`](Self::exited) and before this value is dropped.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub async fn kill_remaining(&self) -> io::Result<()> {
        if self.holds_pid() {
            return absent_is_fine(kill_process_group(self.pid, Number::KILL)).map(drop);
        }
        // Another process has reaped it, so the group may be reused. Each member has to prove itself by the tag.
        let (group, tag) = (self.identity.pid, self.tag.clone());
        blocking::unblock(move || find::kill_group(group, &tag)).await?
    }

    fn send(&self, number: Number) -> io::Result<bool> {
        let to_group = absent_is_fine(kill_process_group(self.pid, number))?;
        let left_group = Stat::of(self.identity.pid).is_ok_and(|stat| stat.group != self.identity.pid);
        if !left_group {
            return Ok(to_group);
        }
        let to_itself = match &self.watch {
            Some(pidfd) => pidfd_send_signal(pidfd, number),
            None => kill_process(self.pid, number),
        };
        Ok(absent_is_fine(to_itself)? | to_group)
    }

    fn exit(&self) -> Option<Exit> {
        if !self.child {
            return (!self.is_alive()).then_some(Exit::Unseen);
        }
        match self.wait_status() {
            Ok(status) => status.as_ref().map(exit),
            // Already reaped, as where SIGCHLD is ignored.
            Err(Errno::CHILD) => Some(Exit::Unseen),
            Err(_) => None,
        }
    }

    /// Whether the pid, and so the number of the group, is still its own: it is an unreaped child of this process.
    fn holds_pid(&self) -> bool {
        self.child && !matches!(self.wait_status(), Err(Errno::CHILD))
    }

    fn wait_status(&self) -> Result<Option<WaitIdStatus>, Errno> {
        waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)
    }

    /// Whether it is alive, and not another process with its pid. If that cannot be told, it counts as alive.
    fn is_alive(&self) -> bool {
        if let Some(pidfd) = &self.watch {
            let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
            return !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..));
        }
        identity_of(self.identity.pid).map_or(true, |found| found == Some(self.identity))
    }
}

impl Drop for Process {
    /// Reaps it if it has ended.
    fn drop(&mut self) {
        if self.child {
            let _ = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

/// A pidfd of the process that has this pid now.
fn watch(pid: Pid) -> Option<Async<OwnedFd>> {
    // Always close-on-exec.
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
    Async::new_nonblocking(pidfd).ok()
}

fn exit(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unseen,
    }
}

/// Whether a signal reached a process.
fn absent_is_fine(sent: Result<(), Errno>) -> io::Result<bool> {
    match sent {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
