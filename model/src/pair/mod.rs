//! Agent × daemon × network × crashes.
//!
//! | part | what it is here |
//! |---|---|
//! | what the daemon decides | the product's `Registry` with its `Supervised` machine, `Evidence`, `RestartGuard`, and what it saves and restores |
//! | how the daemon carries that out | modelled, in `daemon`, after `daemon/driver`: effects in order, those behind a `Record` wait for a save |
//! | what the agent decides | the product's table `statemachine::lifecycle::transition`, with one fault, `heartbeat` |
//! | how the agent sends | modelled, in `host`: one heartbeat at each tick, two failures in a row raise the fault, one success clears it |
//! | process table, signals, pids, network, disk | modelled, in `host` |
//!
//! A tick is 30 s, which is the default interval of heartbeats and of looks; the limits are the product's defaults but for
//! a grace of one tick, so that everything falls on ticks. Between ticks, anything that is possible happens in any order.
//! What is quick by nature (a save, the news of a start or an end, a turn that is due) is done within its tick.

mod daemon;
mod host;
mod promises;

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ops_agent::testing::daemon::registry::SavedRegistry;
use stateright::{Model, Property};

use crate::canon::{Scale, canonical, fingerprint};
use daemon::Daemon;
use host::{Message, Process};
pub use promises::Promise;

/// From one heartbeat to the next, and from one look to the next.
pub const TICK: Duration = Duration::from_secs(30);

/// How often what can go wrong does so, in one run of any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// kill -9 of an agent, and ends of its own.
    pub crashes: u8,
    /// SIGSTOP of an agent.
    pub hangs: u8,
    /// Copies that somebody starts by hand.
    pub strays: u8,
    /// Other programs, which get the lowest free pid: that of an agent that is gone.
    pub foreigners: u8,
    /// Heartbeats of an earlier life with the agent's own pid, as of a host that was cloned or set back.
    pub clones: u8,
    /// kill -9 of the daemon.
    pub daemon_crashes: u8,
    /// Ticks for which the daemon stands still.
    pub stalls: u8,
    /// Saves of the registry that fail.
    pub disk_failures: u8,
    /// Heartbeats that arrive twice.
    pub duplicates: u8,
    /// Operators who ask for a stop, a start or a restart.
    pub wishes: u8,
    /// How many ticks a heartbeat may be under way. It may overtake others.
    pub delay: u8,
    /// How many heartbeats in a row the network may keep from a daemon that listens: 2 leave 60 s of silence of 90.
    pub losses: u8,
}

/// What is broken on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broken {
    /// Nothing: the product.
    #[default]
    Nothing,
    /// Every heartbeat in the agent's name is taken for its own.
    AnyPid,
    /// Incarnations are not looked at.
    NoIncarnation,
    /// Silence is never too long.
    NeverExpires,
    /// One missed heartbeat is too many.
    Impatient,
    /// The next daemon starts what it has on record, without looking for it.
    NoAdoption,
    /// The next daemon knows processes only by its records, not by their marks.
    NoMarks,
    /// A pid on record is believed, whoever has it now.
    PidAlone,
    /// An adopted process is not watched.
    AdoptsBlindly,
    /// What is due is done before what lies in the sockets is read.
    JudgesFirst,
    /// Not the product but an assumption: a pid is given out again while a heartbeat of its last owner is under way.
    EarlyReuse,
    /// Not the product but an assumption: a clone's heartbeat comes before the first one of the present process.
    EarlyClone,
    /// Not the product but an assumption: the network may keep back as many heartbeats as it likes.
    SilentNetwork,
}

/// What was seen on the way, so that nothing holds for want of anything to hold for.
#[derive(Debug, Default)]
pub struct Seen {
    /// Heartbeats that were accepted.
    pub accepted: AtomicU64,
    /// Heartbeats that were refused.
    pub refused: AtomicU64,
    /// Processes that were started.
    pub started: AtomicU64,
    /// Processes that were adopted.
    pub adopted: AtomicU64,
    /// Verdicts that ended a process.
    pub condemned: AtomicU64,
    /// Times at which restarts were held.
    pub held: AtomicU64,
    /// Agents that were given up.
    pub given_up: AtomicU64,
    /// Agents that said that they were degraded.
    pub degraded: AtomicU64,
}

/// The model.
#[derive(Debug, Default)]
pub struct Pair {
    /// What may go wrong, and how often.
    pub bounds: Bounds,
    /// What is broken on purpose.
    pub broken: Broken,
    /// What was seen.
    pub seen: Seen,
}

/// All there is at one moment.
#[derive(Debug, Clone)]
pub struct State {
    now: Duration,
    /// By pid: those that live, and those that nobody has reaped.
    processes: Vec<Process>,
    net: Vec<Message>,
    /// The newest incarnation in the agent's state directory.
    incarnation: u64,
    disk: Option<SavedRegistry>,
    daemon: Option<Daemon>,
    /// What is left of what may go wrong.
    left: Bounds,
    lost: Option<Promise>,
    /// How many processes there have been.
    started_at: u64,
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

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is told by its name")]
pub enum Action {
    Tick,
    DaemonTurns,
    DaemonSaves,
    DaemonFailsToSave,
    DaemonCarriesOut,
    DaemonHearsOfStart,
    DaemonHearsOfEnd(u32),
    DaemonDies,
    DaemonStarts,
    DaemonStalls,
    DaemonGoesOn,
    Delivered(usize),
    DeliveredTwice(usize),
    CloneSends,
    AgentDies(u32),
    AgentHangs(u32),
    StrayStarts,
    ForeignerStarts,
    OperatorStarts,
    OperatorStops,
    OperatorRestarts,
}

impl Model for Pair {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: Duration::from_secs(1000),
            processes: Vec::new(),
            net: Vec::new(),
            incarnation: 0,
            disk: None,
            daemon: None,
            left: self.bounds,
            lost: None,
            started_at: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.lost.is_none() {
            state.daemon_actions(self, actions);
            state.host_actions(self, actions);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Tick => state.tick(self),
            Action::DaemonTurns => state.turn(self),
            Action::DaemonSaves => state.saved(true),
            Action::DaemonFailsToSave => state.saved(false),
            Action::DaemonCarriesOut => state.carry_out(self),
            Action::DaemonHearsOfStart => state.told_of_start(self),
            Action::DaemonHearsOfEnd(pid) => state.told_of_end(self, pid),
            Action::DaemonDies => state.daemon_dies(),
            Action::DaemonStarts => state.daemon_starts(self),
            Action::DaemonStalls => state.stalled(true),
            Action::DaemonGoesOn => state.stalled(false),
            Action::Delivered(place) => state.delivered(self, place, false),
            Action::DeliveredTwice(place) => state.delivered(self, place, true),
            Action::CloneSends => state.clone_sends(),
            Action::AgentDies(pid) => state.crash(pid),
            Action::AgentHangs(pid) => state.hang(pid),
            Action::StrayStarts => state.stray_starts(self),
            Action::ForeignerStarts => state.foreigner_starts(self),
            Action::OperatorStarts | Action::OperatorStops | Action::OperatorRestarts => state.command(self, action),
        }
        // Messages have no order among them, so it shall not tell states apart.
        state.net.sort_by_key(|message| (message.pid, message.age, message.incarnation, message.degraded));
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::properties()
    }
}

impl Pair {
    fn count(&self, what: fn(&Seen) -> &AtomicU64) {
        what(&self.seen).fetch_add(1, Ordering::Relaxed);
    }
}

impl State {
    /// The text that two states have in common when they are the same.
    #[must_use]
    pub fn canonical(&self) -> String {
        canonical(self, self.scale())
    }

    /// Moments are compared with silence of 90 s at most.
    const fn scale(&self) -> Scale {
        Scale { now: self.now, horizon: Duration::from_secs(130), incarnation: self.incarnation, sequence: 0 }
    }

    /// A promise was not kept. The first one counts.
    fn loses(&mut self, promise: Promise) {
        self.lost.get_or_insert(promise);
    }
}
