//! The agent: one loop around the lifecycle machine, inputs that become events, and outputs that perform effects.
//!
//! ```text
//! signal | HTTP request | timer | end of a heartbeat attempt | file written
//!   → LoopEvent → Machine::handle(now, input) → effects → event loop
//!   → status file on disk → snapshot published → API, heartbeat, service manager, log
//! ```

pub(crate) mod api;
pub(crate) mod app;
pub(crate) mod effects;
pub(crate) mod event_loop;
pub(crate) mod heartbeat;
pub(crate) mod metrics;
pub(crate) mod reload;
pub(crate) mod service_manager;
#[cfg(feature = "simulate")]
pub(crate) mod simulate;
pub(crate) mod snapshot;
pub(crate) mod status_file;
pub(crate) mod usage;
pub(crate) mod write_barrier;

/// The version that the agent reports. One that misbehaves on purpose says so.
pub(crate) fn version() -> &'static str {
    #[cfg(feature = "simulate")]
    if simulate::is_active() {
        return concat!(env!("CARGO_PKG_VERSION"), " (simulated)");
    }
    env!("CARGO_PKG_VERSION")
}
