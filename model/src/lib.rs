//! Agent and daemon as a model: every order of events within bounds, through the product's own decisions.
//!
//! * [`pair`]: agent × daemon × network × crashes.
//! * [`agent`]: one agent × its disk × crashes.
//! * [`fleet`]: several agents that fail together.
//! * [`canon`]: when two states are equal.
//! * [`scenarios`]: the bounds that are searched, short and full.
//!
//! stateright searches breadth first until no state is new. So an invariant holds in runs of any length in which no more
//! goes wrong than the bounds allow, and a counterexample is a shortest one. The head of each model says what is the
//! product's code and what is modelled. No other crate depends on this one.

#![allow(clippy::wildcard_enum_match_arm, reason = "a defect differs from all others in one place")]

pub mod agent;
pub mod canon;
pub mod fleet;
pub mod pair;
pub mod scenarios;
