//! The invariants of the pair.

use ops_agent::testing::daemon::registry::Entry;
use statemachine::supervision::State as Supervision;
use stateright::Property;

use super::state::{AGENT, Daemon, Kind, State};
use super::types::{Invariant, Pair};

/// For how many ticks the daemon may take an agent that hangs for a healthy one: its last heartbeat may be on its way for
/// one tick, and the heartbeat timeout is three. Ticks in which the daemon stalls or holds restarts do not count.
const NOTICED_WITHIN: u8 = 1 + 3;

/// Each invariant as a property of every state.
pub(super) fn properties() -> Vec<Property<Pair>> {
    fn holds(state: &State, invariant: Invariant) -> bool {
        state.violated != Some(invariant)
    }
    vec![
        Property::always("a dead agent is noticed", |_, state| holds(state, Invariant::DeathIsNoticed)),
        Property::always("a healthy agent is left alone", |_, state| holds(state, Invariant::HealthyIsLeftAlone)),
        Property::always("there is one copy", |_, state| holds(state, Invariant::OneCopy)),
        Property::always("only own heartbeats count", |_, state| holds(state, Invariant::OnlyOwnHeartbeatsCount)),
        Property::always("other programs are left alone", |_, state| {
            holds(state, Invariant::OtherProgramsAreLeftAlone)
        }),
        Property::always("trees end whole", |_, state| holds(state, Invariant::TreesEndWhole)),
        Property::always("holds have a reason", |_, state| holds(state, Invariant::HoldsHaveAReason)),
        Property::always("nothing is refused", |_, state| holds(state, Invariant::NothingIsRefused)),
    ]
}

impl State {
    /// Checks what only the passing of time can violate.
    pub(super) fn check_before_tick(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let Some(process) = daemon.process().filter(|_| !daemon.stalled && is_trusted(daemon)) else { return };
        let alive = self.processes.iter().find(|other| other.identity == process && !other.ended);
        match alive {
            // A watched process is reported within the tick, so this one is not watched.
            None => self.violate(Invariant::DeathIsNoticed),
            Some(hangs) if hangs.hangs_for.is_some_and(|ticks| ticks > NOTICED_WITHIN) => {
                self.violate(Invariant::DeathIsNoticed);
            }
            Some(other) if other.kind != Kind::Supervised => self.violate(Invariant::OtherProgramsAreLeftAlone),
            Some(_) => {}
        }
        let copies = self.processes.iter().filter(|other| other.kind == Kind::Supervised && !other.ended);
        if copies.count() > 1 {
            self.violate(Invariant::OneCopy);
        }
    }
}

/// Whether the daemon takes the agent's process for one that works or may start to.
fn is_trusted(daemon: &Daemon) -> bool {
    let state = daemon.registry.get(AGENT).map(Entry::machine).map(|machine| machine.state());
    matches!(state, Some(Supervision::Starting | Supervision::Running | Supervision::Unhealthy))
}
