//! What went wrong, as every HTTP answer of agent and daemon says it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error on the wire: `{"error": "...", "code": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The fact and what to do, for people.
    pub error: String,
    /// The same for programs.
    pub code: Code,
}

impl ApiError {
    /// An error of the kind `code`.
    #[must_use]
    pub fn new(code: Code, error: impl Into<String>) -> Self {
        Self { error: error.into(), code }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A string and a name: there is nothing in it that could fail.
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
    /// The request is not right.
    InvalidRequest,
    /// Nobody by that name is known.
    InvalidAgentId,
    /// The configuration is not right.
    ConfigError,
    /// A token is needed, and was not given or is not the one.
    Unauthorized,
    /// Whoever asks may not.
    Forbidden,
    /// There is nothing at this path.
    NotFound,
    /// There is, but it does not take this method.
    MethodNotAllowed,
    /// It cannot be done as things stand.
    Conflict,
    /// The body is longer than allowed.
    PayloadTooLarge,
    /// The fault is not the peer's.
    InternalError,
    /// Not now.
    Unavailable,
}

impl Code {
    /// The HTTP status that goes with it.
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
