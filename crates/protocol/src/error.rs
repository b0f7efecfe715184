//! The error in every HTTP error response of agent and daemon.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error on the wire: `{"error": "...", "code": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The fact and the remedy, for people.
    pub error: String,
    /// The kind of error, for programs.
    pub code: Code,
}

impl ApiError {
    /// An error of kind `code`.
    #[must_use]
    pub fn new(code: Code, error: impl Into<String>) -> Self {
        Self { error: error.into(), code }
    }

    /// The JSON text of the error.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A string and a fixed name always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for ApiError {}

/// The kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The request is malformed.
    InvalidRequest,
    /// The agent ID is unknown or invalid.
    InvalidAgentId,
    /// The configuration is invalid.
    ConfigError,
    /// The token is missing or wrong.
    Unauthorized,
    /// The caller has no permission.
    Forbidden,
    /// The path does not exist.
    NotFound,
    /// The path exists, but does not support this method.
    MethodNotAllowed,
    /// The request does not fit the present state.
    Conflict,
    /// The body is longer than the limit.
    PayloadTooLarge,
    /// The server failed; the request is not at fault.
    InternalError,
    /// The server is temporarily unable to answer.
    Unavailable,
}

impl Code {
    /// The HTTP status of this kind of error.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::InvalidAgentId | Self::ConfigError => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::InternalError => 500,
            Self::Unavailable => 503,
        }
    }
}
