//! The words that agent, daemon and third parties speak to each other: types and their text forms, no I/O.

pub mod timestamp;

pub use timestamp::Timestamp;
