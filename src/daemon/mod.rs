//! The daemon: one machine per supervised agent, processes, checks, heartbeat receivers, control.
//!
//! Its core is pure: [`registry`] is told what was seen and what time it is, and answers with what is to be done.
//! Around it are hands and eyes that decide nothing: [`processes`], [`checks`] and [`store`].

pub mod api;
pub mod app;
pub mod checks;
pub mod client;
pub mod control;
pub mod effects;
pub mod event_loop;
pub mod own_fault;
pub mod processes;
pub mod registry;
pub mod restart_guard;
pub mod store;
pub mod verdict;
