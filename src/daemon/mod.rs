//! The daemon: one machine per supervised agent, processes, checks, heartbeat receivers, control.
//!
//! Its core is pure: [`registry`] is told what was seen and what time it is, and answers with what is to be done.
//! Around it are hands and eyes that decide nothing: [`processes`], [`checks`] and [`store`].

pub mod app;
pub mod checks;
pub mod client;
pub mod desk;
pub mod driver;
pub mod guard;
pub mod own_fault;
pub mod processes;
pub mod receivers;
pub mod registry;
pub mod store;
pub mod verdict;
pub mod world;
