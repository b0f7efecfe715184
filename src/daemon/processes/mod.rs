//! The processes of the agents: started, watched, signalled, swept up after and reaped. Nothing is decided here.
//!
//! * [`start()`] starts one, in a process group of its own; [`Process::adopt`] takes over one that an earlier daemon
//!   started; [`find()`] looks for those of which an earlier daemon left no record.
//! * [`Process`] watches one by pidfd, whoever its parent is.
//! * [`tail`] and [`rotate`] are about its output.
//!
//! The children are std's and the waiting is rustix's: async-process reaps a child before it tells that it has ended, and
//! from then on its number, which is also that of its group, may be another's. Here it is reaped last.
//!
//! No process is killed for the death of the daemon: dropping a [`Process`] leaves a living one as it is.

pub(crate) mod descriptors;
pub(crate) mod find;
pub(crate) mod output;
pub(crate) mod start;

pub(crate) use descriptors::raise as raise_descriptors;
pub(crate) use find::{SupervisionTag, find, home, identity_of};
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

/// How often to look at a process that cannot be watched: the kernel had no descriptor or no room in epoll for it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One process that is there, or was until now.
#[derive(Debug)]
pub struct Process {
    identity: Identity,
    pid: Pid,
    mark: SupervisionTag,
    /// Ours to reap: its number is its own for as long as this lives.
    child: bool,
    /// `None`: it is looked at now and then instead.
    watch: Option<Async<OwnedFd>>,
    output_from: u64,
}

impl Process {
    /// Takes over a process that an earlier daemon has started with this mark. `None`: it is not there any more, whoever
    /// has its number now.
    ///
    /// # Errors
    ///
    /// If the kernel does not say, which proves nothing: try again.
    pub fn adopt(identity: Identity, mark: SupervisionTag) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        // First the hold, then the proof: so what is proved is what is held.
        let watch = watch(pid);
        let proved = identity_of(identity.pid)? == Some(identity);
        Ok(proved.then_some(Self { identity, pid, mark, child: false, watch, output_from: 0 }))
    }

    /// Which one.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Where in its log its own output begins, in bytes, for [`tail`].
    #[must_use]
    pub const fn output_from(&self) -> u64 {
        self.output_from
    }

    /// Waits for its end. It is not reaped yet: what it left in its group can still be told from others'.
    pub async fn ended(&self) -> Exit {
        loop {
            if let Some(exit) = self.exit() {
                return exit;
            }
            match &self.watch {
                Some(pidfd) if pidfd.readable().await.is_ok() => {}
                Some(_) | None => drop(Timer::after(LOOK_EVERY).await),
            }
        }
    }

    /// Sends a signal to every process of its group, and to itself if it has left that. `false`: nobody is there.
    ///
    /// A process that is told to end is woken up as well: one that is stopped would not hear it.
    ///
    /// # Errors
    ///
    /// If the kernel does not let us, as with a process that has become another user's.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        // The number of what is not ours to reap may have been given away: it has to be there at this moment.
        if !self.holds_number() && !self.is_there() {
            return Ok(false);
        }
        let sent = match signal {
            Signal::Term => self.send(Number::TERM)? | self.send(Number::CONT)?,
            Signal::Kill => self.send(Number::KILL)?,
        };
        Ok(sent)
    }

    /// Kills what it left behind in its group. To be called once it has [`ended`](Self::ended), and before this is dropped.
    ///
    /// # Errors
    ///
    /// If the kernel does not let us.
    pub async fn sweep(&self) -> io::Result<()> {
        if self.holds_number() {
            return absent_is_fine(kill_process_group(self.pid, Number::KILL)).map(drop);
        }
        // Somebody else has reaped it. Each that bears its mark in a group of its number is proved for itself.
        let (group, mark) = (self.identity.pid, self.mark.clone());
        blocking::unblock(move || find::kill_group(group, &mark)).await?
    }

    fn send(&self, number: Number) -> io::Result<bool> {
        let to_group = absent_is_fine(kill_process_group(self.pid, number))?;
        let strayed = Stat::of(self.identity.pid).is_ok_and(|stat| stat.group != self.identity.pid);
        if !strayed {
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
            return (!self.is_there()).then_some(Exit::Unseen);
        }
        match self.look() {
            Ok(status) => status.as_ref().map(exit),
            // Reaped behind our back, as where SIGCHLD is ignored.
            Err(Errno::CHILD) => Some(Exit::Unseen),
            Err(_) => None,
        }
    }

    /// Whether its number, and so that of its group, is still its own, dead or alive: it is ours to reap, and not reaped.
    fn holds_number(&self) -> bool {
        self.child && !matches!(self.look(), Err(Errno::CHILD))
    }

    fn look(&self) -> Result<Option<WaitIdStatus>, Errno> {
        waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)
    }

    /// Whether it is there, itself and not another one with its number. What cannot be told counts as there.
    fn is_there(&self) -> bool {
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

/// A pidfd for whoever has this number, that can be waited for.
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

/// Whether a signal reached anybody.
fn absent_is_fine(sent: Result<(), Errno>) -> io::Result<bool> {
    match sent {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
