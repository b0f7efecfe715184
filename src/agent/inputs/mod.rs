//! What makes events: signals, HTTP requests, probes. None of them knows another, nor any output.

pub mod http;
pub mod probes;
pub mod signals;
