//! The table: what each event means in each state.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::table::{Cell, Table};

/// Where a supervised agent is in its life, as its daemon knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, VariantArray)]
pub enum State {
    /// No process, and none wanted: asked for, or as the restart policy has it.
    Stopped,
    /// A process is being started or was adopted, and has not proved yet that it works.
    Starting,
    /// Everything that is looked at is good.
    Running,
    /// The process is there, but something about it is bad.
    Unhealthy,
    /// Told to end, and not gone yet.
    Stopping,
    /// Gone, and to be started again in a while.
    Backoff,
    /// Gone, and starting it again cannot help. Until told otherwise.
    Failed,
}

impl State {
    /// The name on the wire: lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
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

    /// Whether a process is there, or on its way.
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
    /// Somebody asked for it to run.
    StartRequested,
    /// Somebody asked for it to end and stay so.
    StopRequested,
    /// Somebody asked for it to end and run again, or its configuration changed.
    RestartRequested,
    /// The process is there.
    Spawned,
    /// A process that an earlier daemon had started was found, and is the right one.
    Adopted,
    /// The same, but the agent is not wanted any more.
    StrayFound,
    /// Everything that is looked at is good.
    FoundHealthy,
    /// Something that is looked at is bad.
    FoundBad,
    /// It is bad enough to be restarted, and nothing speaks against that.
    Condemned,
    /// It was healthy for so long that earlier deaths are forgotten.
    HealthLasted,
    /// The process is gone, which is how it is to stay.
    Ended,
    /// The process is gone or did not come to be, and is to be started again.
    Died,
    /// The process is gone, and starting it again cannot help or was tried too often.
    GaveUp,
    /// The wait before the next start is over.
    BackoffElapsed,
    /// It was told to end and is still there.
    StopTimedOut,
}

/// How a process group is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM: in order.
    Term,
    /// SIGKILL: now.
    Kill,
}

/// What is to be done about it, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Save the registry. What stands behind it in the list waits for the disk, so that a daemon that dies in between
    /// leaves word of what it was about to do.
    Record,
    /// Start the process, in a group of its own.
    Spawn,
    /// Watch a process that is there already.
    Adopt,
    /// Send a signal to every process of the group. Without a process yet: nothing to do.
    SignalGroup(Signal),
    /// Kill what the process left behind in its group. Only while its pid cannot belong to another yet, that is before
    /// it is reaped; afterwards, nothing.
    SweepGroup,
}

/// A supervised agent's life as a [`Table`].
#[derive(Debug, Clone, Copy)]
pub struct Supervision;

impl Table for Supervision {
    type State = State;
    type Event = Event;
    type Effect = Effect;
    const INITIAL: State = State::Stopped;
    const STATES: &'static [State] = State::VARIANTS;
    const EVENTS: &'static [Event] = Event::VARIANTS;

    fn transition(state: State, event: Event) -> Cell<State, Effect> {
        transition(state, event)
    }
}

/// Decides what `event` means in `state`: total, pure.
///
/// `Spawn` stands only where no process is, so there are never two. `Record` comes before it and before any signal.
#[must_use]
pub const fn transition(state: State, event: Event) -> Cell<State, Effect> {
    use Cell::{Go, Refuse, Stay};
    use Effect::{Adopt, Record, SignalGroup, Spawn, SweepGroup};
    use Event as E;
    use Signal::{Kill, Term};
    use State as To;
    match state {
        State::Stopped => match event {
            E::StartRequested | E::RestartRequested => Go(To::Starting, &[Record, Spawn]),
            E::StopRequested => Stay(&[Record]),
            E::Adopted => Go(To::Starting, &[Adopt, Record]),
            E::StrayFound => Go(To::Stopping, &[Adopt, Record, SignalGroup(Term)]),
            E::Spawned | E::Ended | E::Died | E::GaveUp | E::BackoffElapsed | E::StopTimedOut => Refuse,
            E::FoundHealthy | E::FoundBad | E::Condemned | E::HealthLasted => Refuse,
        },
        State::Starting => match event {
            E::StartRequested => Stay(&[]),
            E::StopRequested | E::RestartRequested => Go(To::Stopping, &[Record, SignalGroup(Term)]),
            E::Spawned => Stay(&[Record]),
            E::Adopted => Stay(&[Adopt, Record]),
            E::FoundHealthy => Go(To::Running, &[Record]),
            E::FoundBad => Go(To::Unhealthy, &[Record]),
            E::Ended => Go(To::Stopped, &[SweepGroup, Record]),
            E::Died => Go(To::Backoff, &[SweepGroup, Record]),
            E::GaveUp => Go(To::Failed, &[SweepGroup, Record]),
            E::StrayFound | E::Condemned | E::HealthLasted | E::BackoffElapsed | E::StopTimedOut => Refuse,
        },
        State::Running => match event {
            E::StartRequested | E::FoundHealthy => Stay(&[]),
            E::StopRequested | E::RestartRequested => Go(To::Stopping, &[Record, SignalGroup(Term)]),
            // What an earlier daemon had proved of it has to be proved again.
            E::Adopted => Go(To::Starting, &[Adopt, Record]),
            E::FoundBad => Go(To::Unhealthy, &[Record]),
            E::HealthLasted => Stay(&[Record]),
            E::Ended => Go(To::Stopped, &[SweepGroup, Record]),
            E::Died => Go(To::Backoff, &[SweepGroup, Record]),
            E::GaveUp => Go(To::Failed, &[SweepGroup, Record]),
            E::Spawned | E::StrayFound | E::Condemned | E::BackoffElapsed | E::StopTimedOut => Refuse,
        },
        State::Unhealthy => match event {
            E::StartRequested | E::FoundBad => Stay(&[]),
            E::StopRequested | E::RestartRequested | E::Condemned => Go(To::Stopping, &[Record, SignalGroup(Term)]),
            E::Adopted => Go(To::Starting, &[Adopt, Record]),
            E::FoundHealthy => Go(To::Running, &[Record]),
            E::Ended => Go(To::Stopped, &[SweepGroup, Record]),
            E::Died => Go(To::Backoff, &[SweepGroup, Record]),
            E::GaveUp => Go(To::Failed, &[SweepGroup, Record]),
            E::Spawned | E::StrayFound | E::HealthLasted | E::BackoffElapsed | E::StopTimedOut => Refuse,
        },
        State::Stopping => match event {
            // What is asked for meanwhile decides where it goes once the process is gone.
            E::StartRequested | E::StopRequested | E::RestartRequested => Stay(&[Record]),
            // It was asked to end while it was being started.
            E::Spawned => Stay(&[Record, SignalGroup(Term)]),
            // The earlier daemon may have died before it sent the signal.
            E::Adopted | E::StrayFound => Stay(&[Adopt, Record, SignalGroup(Term)]),
            E::StopTimedOut => Stay(&[SignalGroup(Kill)]),
            E::Ended => Go(To::Stopped, &[SweepGroup, Record]),
            E::Died => Go(To::Backoff, &[SweepGroup, Record]),
            E::GaveUp => Go(To::Failed, &[SweepGroup, Record]),
            E::FoundHealthy | E::FoundBad | E::Condemned | E::HealthLasted | E::BackoffElapsed => Refuse,
        },
        State::Backoff => match event {
            E::StartRequested | E::RestartRequested | E::BackoffElapsed => Go(To::Starting, &[Record, Spawn]),
            E::StopRequested => Go(To::Stopped, &[Record]),
            E::Adopted => Go(To::Starting, &[Adopt, Record]),
            E::Spawned | E::StrayFound | E::Ended | E::Died | E::GaveUp | E::StopTimedOut => Refuse,
            E::FoundHealthy | E::FoundBad | E::Condemned | E::HealthLasted => Refuse,
        },
        State::Failed => match event {
            E::StartRequested | E::RestartRequested => Go(To::Starting, &[Record, Spawn]),
            E::StopRequested => Go(To::Stopped, &[Record]),
            E::Adopted => Go(To::Starting, &[Adopt, Record]),
            E::Spawned | E::StrayFound | E::Ended | E::Died | E::GaveUp => Refuse,
            E::BackoffElapsed | E::StopTimedOut => Refuse,
            E::FoundHealthy | E::FoundBad | E::Condemned | E::HealthLasted => Refuse,
        },
    }
}
