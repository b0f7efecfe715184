//! The answer of a machine to an input.

use std::fmt::{self, Debug};

/// What an input leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction<Effect: 'static, Transition> {
    /// The effects, in order.
    pub effects: &'static [Effect],
    /// The transition, if there was one.
    pub transition: Option<Transition>,
}

impl<Effect, Transition> Reaction<Effect, Transition> {
    /// Nothing changes.
    #[must_use]
    pub const fn none() -> Self {
        Self { effects: &[], transition: None }
    }
}

/// An event that cannot happen in this state. The machine is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused<State, Event> {
    /// The state of the machine.
    pub state: State,
    /// The event that cannot happen in it.
    pub event: Event,
}

impl<State: Debug, Event: Debug> fmt::Display for Refused<State, Event> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot happen in {:?}", self.event, self.state)
    }
}

impl<State: Debug, Event: Debug> std::error::Error for Refused<State, Event> {}
