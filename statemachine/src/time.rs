//! Time as a parameter: nothing in this crate reads a clock.

use std::time::{Duration, SystemTime};

/// One moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since boot on a clock that never goes back. Every decision uses this one.
    pub monotonic: Duration,
    /// The wall clock, which may jump. It is recorded for people and never compared.
    pub wall: SystemTime,
}
