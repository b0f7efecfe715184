//! What lies under tide and surf: listeners and clients with limits, deadlines and a drain, on hyper and smol.

pub mod client;
pub mod server;
mod token;

pub use token::Token;
