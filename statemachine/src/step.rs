//! What a machine answers when it is told something, whichever machine it is.

use std::fmt::{self, Debug};

/// What an input led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction<Effect: 'static, Transition> {
    /// What to carry out, in order.
    pub effects: &'static [Effect],
    /// The move, if there was one.
    pub transition: Option<Transition>,
}

impl<Effect, Transition> Reaction<Effect, Transition> {
    /// Nothing came of it.
    #[must_use]
    pub const fn none() -> Self {
        Self { effects: &[], transition: None }
    }
}

/// An event that cannot happen in this state. The machine is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused<State, Event> {
    /// Where the machine is.
    pub state: State,
    /// What cannot happen there.
    pub event: Event,
}

impl<State: Debug, Event: Debug> fmt::Display for Refused<State, Event> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot happen in {:?}", self.event, self.state)
    }
}

impl<State: Debug, Event: Debug> std::error::Error for Refused<State, Event> {}
