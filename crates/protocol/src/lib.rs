//! The messages and files that agent, daemon and other programs exchange: types and their text forms. No I/O.

pub mod error;
pub mod heartbeat;
pub mod jsonrpc;
pub mod status_file;
pub mod timestamp;
pub mod verdict;

pub use error::ApiError;
pub use timestamp::Timestamp;
