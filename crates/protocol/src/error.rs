//! The errors of the agent's and the daemon's interfaces: one code, with its HTTP status and its JSON-RPC code.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::jsonrpc::RpcError;

/// An error on the wire: `{"error": "...", "code": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct ApiError {
    /// The fact and the remedy, for people.
    pub error: String,
    /// The kind of error, for programs.
    pub code: ErrorCode,
}

impl ApiError {
    /// An error of kind `code`.
    #[must_use]
    pub fn new(code: ErrorCode, error: impl Into<String>) -> Self {
        Self { error: error.into(), code }
    }

    /// The JSON text of the error.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A string and a fixed name always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
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
    /// Too many requests of this kind wait already.
    Busy,
}

impl ErrorCode {
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
            Self::Unavailable | Self::Busy => 503,
        }
    }

    /// The JSON-RPC code of this kind of error. Those from -32099 to -32000 are the daemon's own.
    const fn rpc_code(self) -> i64 {
        match self {
            Self::InvalidRequest => RpcError::INVALID_PARAMS,
            Self::PayloadTooLarge => RpcError::INVALID_REQUEST,
            Self::MethodNotAllowed => RpcError::METHOD_NOT_FOUND,
            Self::ConfigError | Self::InternalError => RpcError::INTERNAL,
            Self::Unauthorized | Self::Forbidden | Self::Conflict => -32000,
            Self::InvalidAgentId | Self::NotFound => -32001,
            Self::Unavailable | Self::Busy => -32002,
        }
    }
}

impl From<ApiError> for RpcError {
    fn from(ApiError { error, code }: ApiError) -> Self {
        Self { code: code.rpc_code(), message: error, data: Some(json!({ "code": code })) }
    }
}
