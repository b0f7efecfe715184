//! The agent: one loop around the lifecycle machine, inputs that make events, outputs that carry out effects.
//!
//! ```text
//! signal | HTTP request | timer | heartbeat answer | file written
//!   → Input → Machine::handle(now, input) → effects → driver
//!   → status file on disk → snapshot published → API, heartbeat, service manager, log
//! ```

pub mod app;
pub mod cadence;
pub mod driver;
pub mod gate;
pub mod inputs;
pub mod metrics;
pub mod outputs;
pub mod reload;
pub mod snapshot;
pub mod world;
