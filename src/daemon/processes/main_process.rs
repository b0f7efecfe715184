//! The main process of a tree: watched by pidfd, and reaped last.

use std::cell::OnceCell;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_io::{Async, Timer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal as Number, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_open,
    pidfd_send_signal, waitid,
};
use statemachine::supervision::{Exit, Identity};

use super::identity::identity_of;
use super::table::Key;
use ops_runtime::observe::Stat;
use ops_runtime::orphans;

/// The polling interval for a process without a pidfd: no descriptor or no room in epoll was left.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The main process of an agent, alive or not yet reaped.
///
/// The death of the daemon kills no process: dropping this leaves a living process as it is.
#[derive(Debug)]
pub struct MainProcess {
    identity: Identity,
    pid: Pid,
    /// Whether it is a child of this process. Then its pid cannot be reused before this value is dropped.
    is_child: bool,
    /// `None`: it is polled every [`POLL_INTERVAL`]. Not set before the first wait, because what many threads allocate for
    /// good needs many times its size.
    watch: OnceCell<Option<Async<OwnedFd>>>,
}

impl MainProcess {
    /// A child of this process.
    pub(super) fn child(pid: Pid, identity: Identity) -> Self {
        Self { identity, pid, is_child: true, watch: OnceCell::new() }
    }

    /// Takes over a process that an earlier daemon started. `None`: it is gone, and its pid may be reused.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read. That proves nothing: try again.
    pub(super) fn adopt(identity: Identity) -> io::Result<Option<Self>> {
        let Some(process) = Self::gone(identity) else { return Ok(None) };
        // The pidfd comes first, so the identity that is checked is that of the process behind the pidfd.
        let process = Self { watch: watch(process.pid).into(), ..process };
        Ok((identity_of(identity.pid)? == Some(identity)).then_some(process))
    }

    /// A process of an earlier daemon that is gone, for a tree of which others are left. `None`: there is no such pid.
    pub(super) fn gone(identity: Identity) -> Option<Self> {
        let pid = i32::try_from(identity.pid).ok().and_then(Pid::from_raw)?;
        Some(Self { identity, pid, is_child: false, watch: OnceCell::from(None) })
    }

    /// Its identity.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) const fn is_child(&self) -> bool {
        self.is_child
    }

    pub(super) const fn key(&self) -> Key {
        (self.identity.pid, self.identity.start_ticks)
    }

    /// Waits for its exit. It is not reaped, so its pid still belongs to it.
    pub async fn exited(&self) -> Exit {
        loop {
            if let Some(exit) = self.exit() {
                return exit;
            }
            match self.watch() {
                Some(pidfd) if pidfd.readable().await.is_ok() => {}
                Some(_) | None => drop(Timer::after(POLL_INTERVAL).await),
            }
        }
    }

    /// The pidfd, which is opened at the first call. A child is there until it is reaped.
    fn watch(&self) -> Option<&Async<OwnedFd>> {
        let open = || {
            let pidfd = watch(self.pid);
            pidfd.filter(|_| identity_of(self.identity.pid).is_ok_and(|found| found == Some(self.identity)))
        };
        self.watch.get_or_init(open).as_ref()
    }

    /// Its exit. `None`: it is alive.
    pub(super) fn exit(&self) -> Option<Exit> {
        if !self.is_child {
            return (!self.is_alive()).then_some(Exit::Unseen);
        }
        match self.wait_status() {
            Ok(status) => status.as_ref().map(exit_of),
            // Another part of this process, or an ignored SIGCHLD, has reaped it. Its life is what the pidfd says.
            Err(Errno::CHILD) => (!self.is_alive()).then_some(Exit::Unseen),
            Err(_) => None,
        }
    }

    fn wait_status(&self) -> Result<Option<WaitIdStatus>, Errno> {
        waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)
    }

    /// Whether it is alive, and not another process with its pid. If that cannot be told, it counts as alive.
    fn is_alive(&self) -> bool {
        if let Some(Some(pidfd)) = self.watch.get() {
            return !has_ended(pidfd);
        }
        identity_of(self.identity.pid).map_or(true, |found| found == Some(self.identity))
    }
}

impl Drop for MainProcess {
    /// Reaps it if it has ended.
    fn drop(&mut self) {
        if self.is_child {
            let _ = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            orphans::release(self.identity.pid);
        }
    }
}

/// Any process of a tree, with a pidfd that was opened before its start was compared.
pub(super) struct Member {
    pid: Pid,
    /// `None`: the daemon has no descriptor left.
    pidfd: Option<OwnedFd>,
    key: Key,
}

impl Member {
    /// `None`: it is gone.
    pub(super) fn open(key: Key) -> Option<Self> {
        let pid = i32::try_from(key.0).ok().and_then(Pid::from_raw)?;
        // Always close-on-exec. Whether the process is there, its start tells.
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok();
        Stat::of(key.0).is_ok_and(|stat| stat.start == key.1).then_some(Self { pid, pidfd, key })
    }

    /// Sends a signal. `false`: it is gone.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, as for a process that runs as another user.
    pub(super) fn signal(&self, number: Number) -> io::Result<bool> {
        let sent = match &self.pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd, number),
            None => kill_process(self.pid, number),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its exit.
    pub(super) async fn exited(self) {
        let watched = self.pidfd.and_then(|pidfd| Async::new_nonblocking(pidfd).ok());
        if let Some(pidfd) = watched
            && pidfd.readable().await.is_ok()
        {
            return;
        }
        while Stat::of_living(self.key.0).is_some_and(|stat| stat.start == self.key.1) {
            Timer::after(POLL_INTERVAL).await;
        }
    }
}

/// A pidfd of the process that has this pid now.
fn watch(pid: Pid) -> Option<Async<OwnedFd>> {
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
    Async::new_nonblocking(pidfd).ok()
}

fn has_ended(pidfd: &Async<OwnedFd>) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
}

pub(super) fn exit_of(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unseen,
    }
}
