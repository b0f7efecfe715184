//! What must never be seen.

use ops_agent::testing::daemon::registry::Entry;
use statemachine::supervision::State as Supervision;
use stateright::Property;

use super::daemon::{AGENT, Daemon};
use super::host::Kind;
use super::{Pair, State};

/// For how many ticks an agent that hangs may still count as well: its last heartbeat may be under way for one, and
/// silence is too long after three. Ticks for which the daemon stands still or holds restarts do not count.
const NOTICED_WITHIN: u8 = 1 + 3;

/// A promise that was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// (a) A dead or hanging agent is noticed.
    DeathIsNoticed,
    /// (b) An agent that lives, turns and is heard of is not restarted.
    HealthIsLeftAlone,
    /// (c) There are never two copies, and never two that are believed.
    OneCopy,
    /// (d) Nobody else's word counts as the agent's.
    StraysDoNotCount,
    /// (d) Nobody else's process is taken for the agent's, or told to end.
    StrangersAreLeftAlone,
    /// The daemon doubts itself only after it stood still.
    DoubtHasAReason,
    /// No event comes where the table says that it cannot.
    NothingIsRefused,
}

/// Each promise as a property of every state.
pub(super) fn properties() -> Vec<Property<Pair>> {
    fn kept(state: &State, promise: Promise) -> bool {
        state.lost != Some(promise)
    }
    vec![
        Property::always("a dead agent is noticed", |_, state| kept(state, Promise::DeathIsNoticed)),
        Property::always("a healthy agent is left alone", |_, state| kept(state, Promise::HealthIsLeftAlone)),
        Property::always("there is one copy", |_, state| kept(state, Promise::OneCopy)),
        Property::always("a stray's word does not count", |_, state| kept(state, Promise::StraysDoNotCount)),
        Property::always("strangers are left alone", |_, state| kept(state, Promise::StrangersAreLeftAlone)),
        Property::always("doubt has a reason", |_, state| kept(state, Promise::DoubtHasAReason)),
        Property::always("nothing impossible happens", |_, state| kept(state, Promise::NothingIsRefused)),
    ]
}

impl State {
    /// Looks at what time alone can break, before it passes.
    pub(super) fn look_before_tick(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let Some(process) = daemon.process().filter(|_| !daemon.stalled && believes(daemon)) else { return };
        let alive = self.processes.iter().find(|other| other.identity == process && !other.ended);
        match alive {
            // Its end would be told within the tick if anybody listened for it.
            None => self.loses(Promise::DeathIsNoticed),
            Some(hangs) if hangs.hangs_for.is_some_and(|ticks| ticks > NOTICED_WITHIN) => {
                self.loses(Promise::DeathIsNoticed);
            }
            Some(other) if other.kind != Kind::Own => self.loses(Promise::StrangersAreLeftAlone),
            Some(_) => {}
        }
        let copies = self.processes.iter().filter(|other| other.kind == Kind::Own && !other.ended);
        if copies.count() > 1 {
            self.loses(Promise::OneCopy);
        }
    }
}

/// Whether the daemon takes the agent for one that works or may yet.
fn believes(daemon: &Daemon) -> bool {
    let state = daemon.registry.get(AGENT).map(Entry::machine).map(|machine| machine.state());
    matches!(state, Some(Supervision::Starting | Supervision::Running | Supervision::Unhealthy))
}
