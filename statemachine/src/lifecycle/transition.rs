//! The table: what each event means in each state.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::table::{Cell, Table};

/// The state of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, VariantArray)]
pub enum State {
    /// The configuration is read. Listener, status file and probes are being set up.
    Starting,
    /// Every required part has proved that it works, and there is no fault.
    Running,
    /// Alive, with at least one named fault.
    Degraded,
    /// Draining: no new work is accepted.
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

    /// Whether the agent is healthy. `/health`, `/readyz` and the exit code of `check` follow from it.
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(self, Self::Running)
    }

    /// Whether the loop serves at all, for `/livez`.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        !matches!(self, Self::Stopped)
    }

    /// Whether heartbeats are sent at their interval in this state.
    #[must_use]
    pub const fn sends_heartbeats(self) -> bool {
        matches!(self, Self::Running | Self::Degraded)
    }
}

/// What can happen to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, VariantArray)]
pub enum Event {
    /// A required part has proved that it works, and others have not yet.
    PartProved,
    /// The last required part has proved that it works, and there is no fault.
    Proved,
    /// The last required part has proved that it works, and there is a fault.
    ProvedWithFault,
    /// The start cannot succeed.
    StartFailed,
    /// A fault was raised.
    FaultRaised,
    /// A fault was cleared, and others remain.
    FaultEased,
    /// The last fault was cleared.
    FaultsCleared,
    /// A reload is requested.
    ReloadRequested,
    /// The status file has to be refreshed.
    RefreshDue,
    /// The next heartbeat is due.
    HeartbeatDue,
    /// The end is requested. The second request means: now.
    StopRequested,
    /// The last heartbeat is sent or given up, and no request is in flight.
    Drained,
    /// The grace period is over.
    GraceExpired,
}

/// What has to be done. Effects are performed in order, and those after [`Effect::Persist`] wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Effect {
    /// Write the status file.
    Persist,
    /// Publish the new snapshot to the API and the service manager.
    Publish,
    /// Send a heartbeat now, outside of the interval.
    Announce,
    /// Send the heartbeat that is due.
    SendHeartbeat,
    /// Reload the configuration: apply all of it or nothing.
    Reload,
    /// Answer that a reload is not possible now.
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

    fn transition(state: State, event: Event) -> Cell<State, Effect> {
        transition(state, event)
    }
}

/// Decides what `event` means in `state`: total, pure.
///
/// `Persist` comes before anything is published, so a crash in between can only under-report.
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
            // Work that was in progress at the stop may still report. That changes nothing.
            E::PartProved | E::Proved | E::ProvedWithFault | E::StartFailed => Stay(&[]),
            E::FaultRaised | E::FaultEased | E::FaultsCleared | E::RefreshDue => Stay(&[Persist, Publish]),
            E::ReloadRequested => Stay(&[DeclineReload]),
            E::StopRequested | E::Drained | E::GraceExpired => Go(To::Stopped, &[Persist, Publish, Exit]),
            E::HeartbeatDue => Refuse,
        },
        State::Stopped => match event {
            // The last status is being written. Late events change nothing.
            E::PartProved | E::Proved | E::ProvedWithFault | E::StartFailed => Stay(&[]),
            E::FaultRaised | E::FaultEased | E::FaultsCleared => Stay(&[]),
            E::ReloadRequested => Stay(&[DeclineReload]),
            E::StopRequested | E::Drained => Stay(&[]),
            E::RefreshDue | E::HeartbeatDue | E::GraceExpired => Refuse,
        },
    }
}
