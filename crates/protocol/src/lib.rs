//! The words that agent, daemon and third parties speak to each other: types and their text forms, no I/O.

pub mod error;
pub mod heartbeat;
pub mod jsonrpc;
pub mod status_file;
pub mod timestamp;
pub mod verdict;

pub use error::ApiError;
pub use timestamp::Timestamp;
