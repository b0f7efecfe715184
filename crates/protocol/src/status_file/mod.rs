//! The status file: the record that an agent keeps on disk. It stays readable after the agent has died.
//!
//! The file is RON, or JSON with the same fields. Its last two lines carry a checksum, see [`StatusFile::encode`].

mod error;
mod record;
mod text;

pub use error::{DecodeError, EncodeError, ReadError};
pub use record::{Ended, FaultEntry, HeartbeatEntry, MAX_BYTES, Previous, SCHEMA, StatusFile, TransitionEntry};
pub use text::FileFormat;
