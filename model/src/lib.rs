//! Agent and daemon as a model: every interleaving of small bounds, through the product's own decisions.
//!
//! * [`pair`]: agent × daemon × network × crashes.
//! * [`agent`]: one agent × its disk × crashes.
//! * [`canon`]: when two states are the same.
//! * [`scenarios`]: the bounds that are checked, short and full.
//!
//! The search is breadth first, by stateright, until no state is new: so a promise holds in runs of any length, within what
//! the bounds let go wrong in one run. A counterexample is a shortest one. What is the product's code and what is modelled
//! is said at the head of each model. Not part of the product: nothing depends on this crate.

#![allow(clippy::wildcard_enum_match_arm, reason = "what is broken on purpose differs from all the rest in one place")]

pub mod agent;
pub mod canon;
pub mod pair;
pub mod scenarios;
