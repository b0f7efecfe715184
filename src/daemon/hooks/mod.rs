//! Hooks: programs and webhooks that are told of the troubles of agents.
//!
//! [`events`] decides, purely, what a transition means to hooks. [`facts`] is what they are told. [`target`] tells one of them, with
//! a time limit. [`runner`] has a bounded queue and a few workers beside the event loop, so nothing that a hook does delays
//! supervision.

pub(crate) mod events;
pub(crate) mod facts;
pub(crate) mod runner;
pub(crate) mod target;

pub(crate) use facts::{AgentFacts, HookFacts};
pub(crate) use runner::Hooks;
