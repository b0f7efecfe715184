//! The agent: one loop around the lifecycle machine, inputs that make events, outputs that carry out effects.
//!
//! ```text
//! signal | HTTP request | timer | heartbeat answer | file written
//!   → Input → Machine::handle(now, input) → effects → driver
//!   → status file on disk → snapshot published → API, heartbeat, service manager, log
//! ```

pub mod api;
pub mod app;
pub mod effects;
pub mod event_loop;
pub mod heartbeat;
pub mod metrics;
pub mod reload;
pub mod service_manager;
pub mod snapshot;
pub mod status_file;
pub mod usage;
pub mod write_barrier;
