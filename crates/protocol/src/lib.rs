//! The messages and files that agent, daemon and other programs exchange: types and their text forms. No I/O.

mod check;
pub mod command;
mod elapsed;
pub mod error;
pub mod heartbeat;
pub mod jsonrpc;
pub mod printable;
pub mod status_file;
pub mod timestamp;
pub mod verdict;
pub mod views;

pub use command::Command;
pub use elapsed::Elapsed;
pub use error::{ApiError, ErrorCode};
pub use timestamp::Timestamp;
