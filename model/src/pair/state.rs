//! The state of the model: processes, network, disk and daemon.

use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime};

use ops_agent::testing::daemon::registry::{Registry, SavedRegistry};
use statemachine::lifecycle;
use statemachine::supervision::{BootId, Effect, Exit, Identity};
use statemachine::time::Now;

use super::types::{Bounds, Invariant};
use crate::canon::{Scale, canonical, fingerprint};

pub(super) const AGENT: &str = "agent";

/// Everything there is at one moment.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) now: Duration,
    /// By pid: processes that live, and processes that are not reaped yet.
    pub(super) processes: Vec<Process>,
    pub(super) net: Vec<Message>,
    /// The newest incarnation in the agent's state directory.
    pub(super) incarnation: u64,
    pub(super) disk: Option<SavedRegistry>,
    /// The main process of the last start, recorded before its program runs.
    pub(super) recorded: Option<Identity>,
    pub(super) daemon: Option<Daemon>,
    /// How often each thing may still go wrong.
    pub(super) left: Bounds,
    pub(super) violated: Option<Invariant>,
    /// How many processes have been started.
    pub(super) started_at: u64,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The agent, started by a daemon, with its supervision tag.
    Supervised,
    /// A process that the agent has started. It carries the secret of the agent's start.
    Helper,
    /// A copy of the agent that an operator started by hand, with a state directory of its own.
    StrayCopy,
    /// Another program.
    Other,
}

#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) identity: Identity,
    pub(super) kind: Kind,
    /// The main process of the tree that a helper is in.
    pub(super) tree: Option<Identity>,
    pub(super) incarnation: u64,
    /// A child of the present daemon. It stays in the process table until the daemon reaps it.
    pub(super) child: bool,
    pub(super) ended: bool,
    pub(super) exit: Exit,
    /// Set while SIGSTOP has stopped it: for how many ticks of a daemon that judges.
    pub(super) hangs_for: Option<u8>,
    /// Ticks since a daemon that listens last received its heartbeat.
    pub(super) silent_for: u8,
    /// The agent's own state.
    pub(super) state: lifecycle::State,
    /// Failed heartbeats in a row.
    pub(super) failures: u8,
}

impl Process {
    pub(super) const fn is_running(&self) -> bool {
        !self.ended && self.hangs_for.is_none()
    }

    pub(super) const fn sends(&self) -> bool {
        self.is_running() && self.state.sends_heartbeats()
    }
}

/// A heartbeat on its way.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// The process that sent it. `None`: another host.
    pub(super) sender: Option<Identity>,
    pub(super) pid: u32,
    pub(super) incarnation: u64,
    pub(super) degraded: bool,
    /// For how many ticks it has been on its way. From 1 on, its sender no longer waits for the response.
    pub(super) age: u8,
    /// It waited in the socket while the daemon stalled.
    pub(super) waits: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Daemon {
    pub(super) registry: Registry,
    /// The pending actions, in order.
    pub(super) pending: Vec<Pending>,
    /// The registry has changed, and no action waits for the save.
    pub(super) changed: bool,
    /// A process that was started and is not reported to the registry yet.
    pub(super) spawned: Option<Identity>,
    /// The processes that the daemon watches for their exit.
    pub(super) watched: Vec<Identity>,
    /// Main processes whose exit was reported, and whose trees the daemon watches for their end.
    pub(super) remainders: Vec<(Identity, Exit)>,
    pub(super) stalled: bool,
    /// It has stalled before.
    pub(super) has_stalled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    /// Wait for a save.
    Save,
    Perform(Effect, Option<Identity>),
}

impl Daemon {
    /// The agent's process, as the daemon knows it.
    pub(super) fn process(&self) -> Option<Identity> {
        self.registry.get(AGENT)?.machine().process()
    }

    /// Whether it has nothing left to do at this moment.
    pub(super) fn is_settled(&self, now: Duration) -> bool {
        let due = self.registry.deadline().is_some_and(|at| at <= now);
        self.pending.is_empty() && !self.changed && self.spawned.is_none() && !due
    }
}

impl State {
    /// The text that two states have in common when they are equal.
    #[must_use]
    pub fn canonical(&self) -> String {
        canonical(self, self.scale())
    }

    /// The longest time that the daemon compares with is the heartbeat timeout of 90 s.
    const fn scale(&self) -> Scale {
        Scale { now: self.now, horizon: Duration::from_secs(130), incarnation: self.incarnation, sequence: 0 }
    }

    /// Records a violation. The first one counts.
    pub(super) fn violate(&mut self, invariant: Invariant) {
        self.violated.get_or_insert(invariant);
    }

    pub(super) fn time(&self) -> Now {
        Now { monotonic: self.now, wall: SystemTime::UNIX_EPOCH + self.now }
    }

    pub(super) fn lives(&self, identity: Identity) -> bool {
        self.processes.iter().any(|process| process.identity == identity && !process.ended)
    }

    /// Whether a helper of this main process lives.
    pub(super) fn has_helper(&self, main: Identity) -> bool {
        self.processes.iter().any(|process| process.tree == Some(main) && !process.ended)
    }

    /// Whether there is a daemon that reads its sockets.
    pub(super) fn listens(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| !daemon.stalled)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        fingerprint(self, self.scale()).hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

pub(super) fn boot() -> BootId {
    "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa".parse().unwrap_or_else(|_| unreachable!("it is a boot ID"))
}
