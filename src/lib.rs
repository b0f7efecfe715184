//! A host agent that never lies about its state, and the daemon that supervises it.
//!
//! # The map
//!
//! | module or crate | what |
//! |---|---|
//! | `agent` | the agent: one loop around `statemachine::lifecycle`, its inputs and its outputs |
//! | `daemon` | the daemon: one machine per supervised agent, processes, checks, control |
//! | `cli` | the command lines |
//! | `ops-config` | the configuration files: typed values, or every problem with its location |
//! | `ops-http` | the layer under tide and surf: limits, deadlines, drain, TLS |
//! | `ops-runtime` | clock, executor, blocking threads, signals, files, logging, service manager |
//! | `ops-protocol` | what crosses a process boundary: heartbeat, JSON-RPC, status file, errors |
//!
//! Imports point one way: `cli → agent | daemon → ops-config → ops-http → ops-runtime → ops-protocol → statemachine`.
//! `agent` and `daemon` do not import each other.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the library is private, and its documentation is for its engineers"
)]
#![cfg_attr(not(feature = "testing"), allow(unreachable_pub, reason = "the feature `testing` exports them"))]

mod agent;
mod cli;
mod daemon;
#[cfg(feature = "simulate")]
pub mod simulate;
#[cfg(feature = "testing")]
pub mod testing;

pub use crate::cli::agent::main as agent_main;
pub use crate::cli::daemon::main as daemon_main;
