//! What makes events: HTTP requests and probes (and `ops_runtime::signals`). None of them knows another, nor any output.

pub mod http;
pub mod probes;
