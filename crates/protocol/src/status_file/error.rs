//! Why a status file cannot be read or written.

use std::io;

use super::record::{MAX_BYTES, SCHEMA};

/// Why no status can be read from a path.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The path does not exist.
    #[error("no status file: check that the agent has been started with this configuration")]
    Missing,
    /// The path exists, but is not a regular file.
    #[error("not a regular file: give the path of the status file")]
    NotAFile,
    /// The file cannot be opened or read.
    #[error("the status file cannot be read{}", remedy(.0))]
    Unreadable(#[source] io::Error),
    /// The file can be read, but an agent did not write this content.
    #[error("the status file cannot be used")]
    Corrupt(#[source] DecodeError),
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        " by this user (run the command as root or as the agent's user)"
    } else {
        ""
    }
}

/// Why bytes are not a valid status file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The file has no bytes.
    #[error("it is empty")]
    Empty,
    /// The first or last byte is NUL.
    #[error("it contains NUL bytes instead of text, as after a power cut")]
    Nuls,
    /// The text does not begin as a status file does.
    #[error("it is not a status file: check the path")]
    NotAStatusFile,
    /// The text begins well, but its last two lines are missing.
    #[error("it is torn: its end is missing")]
    Torn,
    /// The text is complete, but the checksum does not match.
    #[error("its checksum is wrong: it was edited or damaged after it was written")]
    Edited,
    /// The checksum matches, but the file has this newer schema.
    #[error("it has schema {0}, and this program reads schema {SCHEMA}: update this program")]
    NewerSchema(u32),
    /// The checksum matches, but the fields are not those of a status file.
    #[error("its fields are wrong: {0}")]
    Malformed(String),
    /// The file is longer than [`MAX_BYTES`]: it has at least this many bytes.
    #[error("it has {0} bytes, which is over the limit of {MAX_BYTES} bytes")]
    TooLong(usize),
}

/// Why a status cannot be written as text.
#[derive(Debug, thiserror::Error)]
#[error("the status cannot be written as text")]
pub enum EncodeError {
    /// The RON writer failed.
    Ron(#[source] ron::Error),
    /// The JSON writer failed.
    Json(#[source] serde_json::Error),
}
