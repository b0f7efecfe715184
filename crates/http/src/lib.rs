//! The layer under tide and surf: listeners and clients with limits, timeouts, a drain and TLS, on hyper and smol.

pub mod client;
mod exposure;
pub mod log_limit;
mod read_turn;
pub mod server;
pub mod tls;
pub mod token;

pub use token::Token;
