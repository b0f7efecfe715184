//! Stops a process tree: the stop signal to every process, and SIGKILL to what is left.

use std::io;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt as _;
use rustix::io::Errno;
use rustix::process::Signal as Number;
use statemachine::supervision::{Identity, StopScope, StopSettings, StopSignal};

use super::NamedSignal;
use super::main_process::Member;
use super::table::Key;
use super::trees::{Tree, Trees};
use ops_runtime::blocking;
use ops_runtime::observe::kernel_state;

/// How many times a tree is searched for processes that are still to be killed: a member may fork during a search.
const KILL_ROUNDS: usize = 64;

/// The time that processes have to disappear after SIGKILL.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// The number of processes that a message names.
const NAMED: usize = 5;

impl Trees {
    /// Sends the stop signal and then SIGCONT to every process of a tree, the main process first. Does nothing if the tree is
    /// gone.
    ///
    /// Returns the processes that the scope of the stop leaves running, for people.
    pub async fn stop(&self, main: Identity, settings: StopSettings) -> Option<String> {
        let tree = self.get(main)?;
        let members = match settings.scope {
            StopScope::Tree => self.members_or_main(&tree).await,
            StopScope::Group => self.release_other_sessions(&tree).await,
        };
        for member in members {
            send(member, &[number(settings.signal), Number::CONT]);
        }
        let mut released: Vec<u32> = tree.released.borrow().iter().map(|key| key.0).collect();
        released.sort_unstable();
        (!released.is_empty()).then(|| named(&released.iter().map(|pid| format!("pid {pid}")).collect::<Vec<_>>()))
    }

    /// Sends a signal to the main process of a tree, and to no other one.
    ///
    /// # Errors
    ///
    /// If the process is gone or cannot be signalled.
    pub fn signal(&self, main: Identity, signal: NamedSignal) -> io::Result<()> {
        let member = self.get(main).and_then(|tree| Member::open(tree.main.key()));
        let is_sent = member.ok_or(Errno::SRCH)?.signal(signal.signal())?;
        is_sent.then_some(()).ok_or_else(|| Errno::SRCH.into())
    }

    /// Sends SIGKILL to every process of a tree until none is left. Returns what is still there after some time, for people.
    pub async fn kill(&self, main: Identity) -> Option<String> {
        let tree = self.get(main)?;
        let all_gone = async {
            for _ in 0..KILL_ROUNDS {
                let members = self.members_or_main(&tree).await;
                let members = if members.is_empty() { self.remaining_members(&tree).await } else { members };
                kill_cgroup(&tree).await;
                if members.is_empty() {
                    break;
                }
                for member in &members {
                    send(*member, &[Number::KILL]);
                }
                for member in members.into_iter().filter_map(Member::open) {
                    member.exited().await;
                }
            }
        };
        let timeout = async {
            Timer::after(KILL_WAIT).await;
        };
        all_gone.or(timeout).await;
        let left = self.members_or_main(&tree).await;
        // A pid without a state has ended since.
        let named_state = |key: &Key| kernel_state(key.0).map(|state| format!("pid {} (state {state})", key.0));
        let left: Vec<String> = left.iter().filter_map(named_state).collect();
        (!left.is_empty()).then(|| named(&left))
    }

    /// The members in the session of the main process. All others are no members from now on.
    async fn release_other_sessions(&self, tree: &Tree) -> Vec<Key> {
        let Ok((table, members)) = self.search(tree).await else { return self.members_or_main(tree).await };
        let is_in_session = |key: &Key| table.get(key.0).is_some_and(|stat| stat.session == tree.main.key().0);
        let (in_session, others): (Vec<Key>, Vec<Key>) = members.into_iter().partition(is_in_session);
        if !others.is_empty() {
            tree.released.borrow_mut().extend(others);
            let _ = tree.releases.0.try_send(());
        }
        in_session
    }
}

/// Kills all of a tree that is in its cgroup with one write. A process that forks faster than the members of its tree are found
/// escapes their signals, but not this.
async fn kill_cgroup(tree: &Tree) {
    // What a stop has left running on purpose is in the same cgroup.
    if !tree.released.borrow().is_empty() {
        return;
    }
    let Some(cgroup) = tree.cgroup.clone() else { return };
    if let Err(error) = blocking::unblock(move || cgroup.kill()).await.flatten() {
        let pid = tree.main.key().0;
        tracing::warn!(pid, %error, "the cgroup cannot be killed at once: its members are killed one by one");
    }
}

/// The first few of them.
fn named(processes: &[String]) -> String {
    let more = processes.len().saturating_sub(NAMED);
    let first = processes.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

const fn number(signal: StopSignal) -> Number {
    match signal {
        StopSignal::Term => Number::TERM,
        StopSignal::Int => Number::INT,
        StopSignal::Quit => Number::QUIT,
        StopSignal::Hup => Number::HUP,
        StopSignal::Usr1 => Number::USR1,
        StopSignal::Usr2 => Number::USR2,
        StopSignal::Winch => Number::WINCH,
        StopSignal::Kill => Number::KILL,
    }
}

fn send(key: Key, numbers: &[Number]) {
    let Some(member) = Member::open(key) else { return };
    for number in numbers {
        if let Err(error) = member.signal(*number) {
            tracing::error!(pid = key.0, signal = ?number, %error, "the process cannot be signalled");
        }
    }
}
