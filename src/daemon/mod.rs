//! The daemon: one machine per supervised agent, processes, checks, heartbeat receivers, control.
//!
//! Its core is pure: [`registry`] is told what was seen and what time it is, and answers with what is to be done.
//! Around it are hands and eyes that decide nothing: [`processes`], [`checks`] and [`store`].

pub(crate) mod api;
pub(crate) mod app;
pub(crate) mod checks;
pub(crate) mod client;
pub(crate) mod control;
pub(crate) mod effects;
pub(crate) mod event_loop;
pub(crate) mod own_fault;
pub(crate) mod processes;
pub(crate) mod registry;
pub(crate) mod restart_guard;
pub(crate) mod store;
