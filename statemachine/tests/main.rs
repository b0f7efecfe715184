//! The machines: their reviewed tables, and invariants after any sequence of events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod lifecycle;
mod names;
mod reviewed;
mod supervision;
mod supervision_dependencies;
mod supervision_properties;
mod supervision_reasons;
mod supervision_restored;
mod supervision_stops;
