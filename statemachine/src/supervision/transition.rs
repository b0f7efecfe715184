//! The table: what each event means in each state.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::table::{Cell, Table};

use Cell::{Go, Refuse, Stay};
use Effect::{Adopt, KillTree, Reap, Record, Spawn, StopTree};
use Event as E;
use State as To;

/// The state of a supervised agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, VariantArray)]
pub enum State {
    /// No process: stopped on request, or by the restart policy.
    Stopped,
    /// No process: a start is due, and an agent that it depends on is not Running.
    Waiting,
    /// A process is being started or was adopted, and has not proved yet that it works.
    Starting,
    /// All checks are good.
    Running,
    /// The process is alive, but a check is bad.
    Unhealthy,
    /// Being stopped, and not gone yet.
    Stopping,
    /// Gone, and waiting for the next start.
    Backoff,
    /// Gone, and not restarted until an operator starts it.
    Failed,
}

impl State {
    /// The name on the wire: lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
        }
    }

    /// The state with this name on the wire.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|state| state.as_str() == name)
    }

    /// Whether there is a process, or one is being started.
    #[must_use]
    pub const fn has_process(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Unhealthy | Self::Stopping)
    }

    /// Whether checks may decide about the agent in this state.
    #[must_use]
    pub const fn is_judged(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Unhealthy)
    }
}

/// What can happen to a supervised agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, VariantArray)]
pub enum Event {
    /// A start is requested.
    StartRequested,
    /// A lasting stop is requested.
    StopRequested,
    /// A restart is requested, or the configuration changed.
    RestartRequested,
    /// A start is requested or due, and has to wait for an agent that this one depends on.
    StartDeferred,
    /// All agents that it depends on are Running.
    DependencyReady,
    /// An agent that it depends on is not Running. That decides about its next start and about nothing else.
    DependencyLost,
    /// The process was started.
    Spawned,
    /// The process that an earlier daemon started was found and proved.
    Adopted,
    /// The same, but the agent is not meant to run any more.
    StrayFound,
    /// All checks are good.
    FoundHealthy,
    /// A check is bad.
    FoundBad,
    /// It has to be restarted for a bad check, and restarts are not held.
    Condemned,
    /// It was healthy long enough to forget earlier restarts.
    HealthLasted,
    /// The main process is gone, and other processes of its tree are left. They are stopped before anything is started.
    MainGone,
    /// The same, right after the start and with exit code 0: the program went to the background.
    Daemonized,
    /// The whole tree is gone and is not restarted.
    Ended,
    /// The whole tree is gone or was not started, and has to be restarted.
    Died,
    /// The whole tree is gone, and a restart cannot help or was tried too often.
    GaveUp,
    /// The wait before the next start is over.
    BackoffElapsed,
    /// The stop timeout is over.
    StopTimedOut,
    /// SIGKILL has not ended all processes of the tree.
    Unkillable,
    /// What SIGKILL had not ended was found by the next daemon.
    RemainderFound,
    /// What SIGKILL had not ended is gone.
    RemainderGone,
}

/// What has to be done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Save the registry. Later effects wait for the disk, so that a daemon that dies in between leaves a record of what it was
    /// about to do.
    Record,
    /// Start the main process in a session of its own.
    Spawn,
    /// Watch a running tree.
    Adopt,
    /// Send the stop signal to every process of the tree, the main process first.
    StopTree,
    /// Send SIGKILL to every process of the tree, until none is left.
    KillTree,
    /// Reap the main process of a tree that is gone, and forget the tree. Only then can its pid be reused.
    Reap,
}

/// The supervision of an agent as a [`Table`].
#[derive(Debug, Clone, Copy)]
pub struct Supervision;

impl Table for Supervision {
    type State = State;
    type Event = Event;
    type Effect = Effect;
    const INITIAL: State = State::Stopped;

    fn transition(state: State, event: Event) -> Cell<State, Effect> {
        transition(state, event)
    }
}

/// Decides what `event` means in `state`: total, pure.
///
/// `Spawn` is an effect only where there is no process, so there are never two. `Record` comes before it and before any signal.
#[must_use]
pub const fn transition(state: State, event: Event) -> Cell<State, Effect> {
    match state {
        State::Stopped => stopped(event),
        State::Waiting => waiting(event),
        State::Starting => starting(event),
        State::Running => running(event),
        State::Unhealthy => unhealthy(event),
        State::Stopping => stopping(event),
        State::Backoff => backoff(event),
        State::Failed => failed(event),
    }
}

const fn stopped(event: Event) -> Cell<State, Effect> {
    match event {
        E::StartRequested | E::RestartRequested => Go(To::Starting, &[Record, Spawn]),
        E::StartDeferred => Go(To::Waiting, &[Record]),
        E::StopRequested => Stay(&[Record]),
        E::Adopted => Go(To::Starting, &[Adopt, Record]),
        E::StrayFound => Go(To::Stopping, &[Adopt, Record, StopTree]),
        E::Spawned | E::Ended | E::Died | E::GaveUp | E::BackoffElapsed | E::StopTimedOut => Refuse,
        E::MainGone | E::Daemonized | E::Unkillable => Refuse,
        E::RemainderFound => Stay(&[Adopt, Record]),
        E::RemainderGone => Stay(&[Reap, Record]),
        E::FoundHealthy | E::FoundBad | E::Condemned | E::HealthLasted => Refuse,
        E::DependencyReady | E::DependencyLost => Stay(&[]),
    }
}

const fn waiting(event: Event) -> Cell<State, Effect> {
    match event {
        E::StartRequested | E::RestartRequested | E::DependencyReady => Go(To::Starting, &[Record, Spawn]),
        E::StartDeferred => Stay(&[Record]),
        E::DependencyLost => Stay(&[]),
        E::StopRequested => Go(To::Stopped, &[Record]),
        E::Adopted => Go(To::Starting, &[Adopt, Record]),
        E::Spawned | E::StrayFound | E::Ended | E::Died | E::GaveUp | E::BackoffElapsed | E::StopTimedOut => Refuse,
        E::MainGone | E::Daemonized | E::Unkillable | E::RemainderFound | E::RemainderGone => Refuse,
        E::FoundHealthy | E::FoundBad | E::Condemned | E::HealthLasted => Refuse,
    }
}

const fn starting(event: Event) -> Cell<State, Effect> {
    match event {
        E::StartRequested => Stay(&[]),
        E::StopRequested | E::RestartRequested => Go(To::Stopping, &[Record, StopTree]),
        E::Spawned => Stay(&[Record]),
        E::Adopted => Stay(&[Adopt, Record]),
        E::FoundHealthy => Go(To::Running, &[Record]),
        E::FoundBad => Go(To::Unhealthy, &[Record]),
        E::MainGone | E::Daemonized => Go(To::Stopping, &[Record, StopTree]),
        E::Ended => Go(To::Stopped, &[Reap, Record]),
        E::Died => Go(To::Backoff, &[Reap, Record]),
        E::GaveUp => Go(To::Failed, &[Reap, Record]),
        E::DependencyReady | E::DependencyLost => Stay(&[]),
        E::StrayFound | E::Condemned | E::HealthLasted | E::BackoffElapsed | E::StopTimedOut => Refuse,
        E::StartDeferred | E::Unkillable | E::RemainderFound | E::RemainderGone => Refuse,
    }
}

const fn running(event: Event) -> Cell<State, Effect> {
    match event {
        E::StartRequested | E::FoundHealthy => Stay(&[]),
        E::StopRequested | E::RestartRequested => Go(To::Stopping, &[Record, StopTree]),
        // The proof of an earlier daemon has to be repeated.
        E::Adopted => Go(To::Starting, &[Adopt, Record]),
        E::FoundBad => Go(To::Unhealthy, &[Record]),
        E::HealthLasted => Stay(&[Record]),
        E::MainGone | E::Daemonized => Go(To::Stopping, &[Record, StopTree]),
        E::Ended => Go(To::Stopped, &[Reap, Record]),
        E::Died => Go(To::Backoff, &[Reap, Record]),
        E::GaveUp => Go(To::Failed, &[Reap, Record]),
        E::DependencyReady | E::DependencyLost => Stay(&[]),
        E::Spawned | E::StrayFound | E::Condemned | E::BackoffElapsed | E::StopTimedOut => Refuse,
        E::StartDeferred | E::Unkillable | E::RemainderFound | E::RemainderGone => Refuse,
    }
}

const fn unhealthy(event: Event) -> Cell<State, Effect> {
    match event {
        E::StartRequested | E::FoundBad => Stay(&[]),
        E::StopRequested | E::RestartRequested | E::Condemned => Go(To::Stopping, &[Record, StopTree]),
        E::Adopted => Go(To::Starting, &[Adopt, Record]),
        E::FoundHealthy => Go(To::Running, &[Record]),
        E::MainGone | E::Daemonized => Go(To::Stopping, &[Record, StopTree]),
        E::Ended => Go(To::Stopped, &[Reap, Record]),
        E::Died => Go(To::Backoff, &[Reap, Record]),
        E::GaveUp => Go(To::Failed, &[Reap, Record]),
        E::DependencyReady | E::DependencyLost => Stay(&[]),
        E::Spawned | E::StrayFound | E::HealthLasted | E::BackoffElapsed | E::StopTimedOut => Refuse,
        E::StartDeferred | E::Unkillable | E::RemainderFound | E::RemainderGone => Refuse,
    }
}

const fn stopping(event: Event) -> Cell<State, Effect> {
    match event {
        // A request meanwhile decides what follows the exit.
        E::StartRequested | E::StopRequested | E::RestartRequested => Stay(&[Record]),
        // The stop was requested during the start.
        E::Spawned => Stay(&[Record, StopTree]),
        // The earlier daemon may have died before it sent the signal.
        E::Adopted | E::StrayFound => Stay(&[Adopt, Record, StopTree]),
        E::StopTimedOut => Stay(&[KillTree]),
        E::MainGone | E::Daemonized => Stay(&[Record]),
        E::Ended => Go(To::Stopped, &[Reap, Record]),
        E::Died => Go(To::Backoff, &[Reap, Record]),
        E::GaveUp => Go(To::Failed, &[Reap, Record]),
        E::Unkillable => Go(To::Failed, &[Record]),
        E::DependencyReady | E::DependencyLost => Stay(&[]),
        E::FoundHealthy | E::FoundBad | E::Condemned | E::HealthLasted | E::BackoffElapsed => Refuse,
        E::StartDeferred | E::RemainderFound | E::RemainderGone => Refuse,
    }
}

const fn backoff(event: Event) -> Cell<State, Effect> {
    match event {
        E::StartRequested | E::RestartRequested | E::BackoffElapsed => Go(To::Starting, &[Record, Spawn]),
        E::StartDeferred => Go(To::Waiting, &[Record]),
        E::DependencyReady | E::DependencyLost => Stay(&[]),
        E::StopRequested => Go(To::Stopped, &[Record]),
        E::Adopted => Go(To::Starting, &[Adopt, Record]),
        E::Spawned | E::StrayFound | E::Ended | E::Died | E::GaveUp | E::StopTimedOut => Refuse,
        E::MainGone | E::Daemonized | E::Unkillable | E::RemainderFound | E::RemainderGone => Refuse,
        E::FoundHealthy | E::FoundBad | E::Condemned | E::HealthLasted => Refuse,
    }
}

const fn failed(event: Event) -> Cell<State, Effect> {
    match event {
        E::StartRequested | E::RestartRequested => Go(To::Starting, &[Record, Spawn]),
        E::StopRequested => Go(To::Stopped, &[Record]),
        E::Adopted => Go(To::Starting, &[Adopt, Record]),
        E::StartDeferred => Go(To::Waiting, &[Record]),
        E::DependencyReady | E::DependencyLost => Stay(&[]),
        E::Spawned | E::StrayFound | E::Ended | E::Died | E::GaveUp => Refuse,
        E::BackoffElapsed | E::StopTimedOut => Refuse,
        E::MainGone | E::Daemonized | E::Unkillable => Refuse,
        E::RemainderFound => Stay(&[Adopt, Record]),
        E::RemainderGone => Stay(&[Reap, Record]),
        E::FoundHealthy | E::FoundBad | E::Condemned | E::HealthLasted => Refuse,
    }
}
