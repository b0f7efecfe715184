//! The daemon: one machine per supervised agent, processes, checks, heartbeat receivers, control.
//!
//! The core is pure: [`registry`] gets events and the time, and returns actions. [`checks`] judges agents.
//! [`processes`] and [`store`] decide nothing.

pub(crate) mod api;
pub(crate) mod app;
pub(crate) mod checks;
pub(crate) mod client;
pub(crate) mod control;
pub(crate) mod effects;
pub(crate) mod event_loop;
pub(crate) mod hooks;
pub(crate) mod own_fault;
pub(crate) mod processes;
pub(crate) mod registry;
pub(crate) mod restart_guard;
pub(crate) mod store;
