//! What lies under tide and surf: listeners and clients with limits, deadlines, a drain and TLS, on hyper and smol.

pub mod client;
pub mod log_limit;
pub mod server;
pub mod tls;
mod token;

pub use token::Token;
