//! The HTTP server under tide.

mod limits;

pub use limits::Limits;
