//! The table: what each event means in each state.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::table::{Cell, Table};

/// Where the agent is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, VariantArray)]
pub enum State {
    /// The configuration is read; listener, status file and probes are being set up.
    Starting,
    /// Every required part has proved that it works, and no fault stands.
    Running,
    /// Alive, with at least one named fault.
    Degraded,
    /// Draining: nothing new is accepted.
    Stopping,
    /// Final. Only the status file shows it.
    Stopped,
}

impl State {
    /// The name on the wire: lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the agent is fit for its work: the one question behind `/health`, `/readyz` and the exit code of `check`.
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(self, Self::Running)
    }

    /// Whether the loop serves at all, which is what `/livez` asks.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        !matches!(self, Self::Stopped)
    }

    /// Whether heartbeats go out on their cadence in this state.
    #[must_use]
    pub const fn beats(self) -> bool {
        matches!(self, Self::Running | Self::Degraded)
    }
}

/// What can happen to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, VariantArray)]
pub enum Event {
    /// A required part has proved that it works, but not yet the last one.
    PartProved,
    /// The last required part has proved that it works, and no fault stands.
    Proved,
    /// The last required part has proved that it works, but a fault stands.
    ProvedWithFault,
    /// The start cannot succeed.
    StartFailed,
    /// A fault began to stand.
    FaultRaised,
    /// A fault was cleared, but others still stand.
    FaultEased,
    /// The last fault was cleared.
    FaultsCleared,
    /// Somebody asked for the configuration to be read again.
    ReloadRequested,
    /// The status file is about to be older than promised.
    RefreshDue,
    /// The next heartbeat is due.
    HeartbeatDue,
    /// Somebody asked for the end. A second time means: now.
    StopRequested,
    /// The last heartbeat is out or given up, and no request is in flight.
    Drained,
    /// Draining took too long.
    GraceExpired,
}

/// What is to be done about it. Effects are carried out in order, and those behind [`Effect::Persist`] wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Effect {
    /// Write the status file.
    Persist,
    /// Show the new snapshot to the HTTP API and to the service manager.
    Publish,
    /// Send a heartbeat now, outside the cadence.
    Announce,
    /// Send the heartbeat that is due.
    SendHeartbeat,
    /// Read the configuration again, and apply it or nothing.
    Reload,
    /// Tell whoever asked that this is no time to reload.
    DeclineReload,
    /// Wait for the last heartbeat, stop accepting, finish the requests in flight.
    Drain,
    /// End the process.
    Exit,
}

/// The agent's lifecycle as a [`Table`].
#[derive(Debug, Clone, Copy)]
pub struct Lifecycle;

impl Table for Lifecycle {
    type State = State;
    type Event = Event;
    type Effect = Effect;
    const INITIAL: State = State::Starting;
    const STATES: &'static [State] = State::VARIANTS;
    const EVENTS: &'static [Event] = Event::VARIANTS;

    fn transition(state: State, event: Event) -> Cell<State, Effect> {
        transition(state, event)
    }
}

/// Decides what `event` means in `state`: total, pure.
///
/// `Persist` comes before anybody is told, so a crash in between can only under-report.
#[must_use]
pub const fn transition(state: State, event: Event) -> Cell<State, Effect> {
    use Cell::{Go, Refuse, Stay};
    use Effect::{Announce, DeclineReload, Drain, Exit, Persist, Publish, Reload, SendHeartbeat};
    use Event as E;
    use State as To;
    match state {
        State::Starting => match event {
            E::PartProved => Stay(&[]),
            E::Proved => Go(To::Running, &[Persist, Publish, Announce]),
            E::ProvedWithFault => Go(To::Degraded, &[Persist, Publish, Announce]),
            E::StartFailed => Go(To::Stopped, &[Persist, Publish, Exit]),
            E::FaultRaised | E::FaultEased | E::FaultsCleared | E::RefreshDue => Stay(&[Persist, Publish]),
            E::ReloadRequested => Stay(&[DeclineReload]),
            E::StopRequested => Go(To::Stopping, &[Persist, Publish, Announce, Drain]),
            E::HeartbeatDue | E::Drained | E::GraceExpired => Refuse,
        },
        State::Running => match event {
            E::Proved => Stay(&[]),
            E::FaultRaised => Go(To::Degraded, &[Persist, Publish, Announce]),
            E::ReloadRequested => Stay(&[Reload]),
            E::RefreshDue => Stay(&[Persist, Publish]),
            E::HeartbeatDue => Stay(&[SendHeartbeat]),
            E::StopRequested => Go(To::Stopping, &[Persist, Publish, Announce, Drain]),
            E::PartProved | E::ProvedWithFault | E::StartFailed => Refuse,
            E::FaultEased | E::FaultsCleared | E::Drained | E::GraceExpired => Refuse,
        },
        State::Degraded => match event {
            E::ProvedWithFault => Stay(&[]),
            E::FaultRaised | E::FaultEased | E::RefreshDue => Stay(&[Persist, Publish]),
            E::FaultsCleared => Go(To::Running, &[Persist, Publish, Announce]),
            E::ReloadRequested => Stay(&[Reload]),
            E::HeartbeatDue => Stay(&[SendHeartbeat]),
            E::StopRequested => Go(To::Stopping, &[Persist, Publish, Announce, Drain]),
            E::PartProved | E::Proved | E::StartFailed | E::Drained | E::GraceExpired => Refuse,
        },
        State::Stopping => match event {
            // What was still under way when the stop came reports in late, which changes nothing any more.
            E::PartProved | E::Proved | E::ProvedWithFault | E::StartFailed => Stay(&[]),
            E::FaultRaised | E::FaultEased | E::FaultsCleared | E::RefreshDue => Stay(&[Persist, Publish]),
            E::ReloadRequested => Stay(&[DeclineReload]),
            E::StopRequested | E::Drained | E::GraceExpired => Go(To::Stopped, &[Persist, Publish, Exit]),
            E::HeartbeatDue => Refuse,
        },
        State::Stopped => match event {
            // The last record is on its way to the disk; latecomers find nobody who would act on them.
            E::PartProved | E::Proved | E::ProvedWithFault | E::StartFailed => Stay(&[]),
            E::FaultRaised | E::FaultEased | E::FaultsCleared => Stay(&[]),
            E::ReloadRequested => Stay(&[DeclineReload]),
            E::StopRequested | E::Drained => Stay(&[]),
            E::RefreshDue | E::HeartbeatDue | E::GraceExpired => Refuse,
        },
    }
}
