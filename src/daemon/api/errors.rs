//! The one place that says which [`ErrorCode`] each refusal of the daemon has. HTTP status and JSON-RPC code follow from it.

use ops_protocol::heartbeat::InvalidHeartbeat;
use ops_protocol::{ApiError, ErrorCode};

use crate::daemon::control::Declined;
use crate::daemon::registry::Rejected;

/// The error for a body or line that is not a heartbeat.
pub(super) fn invalid_heartbeat(invalid: &InvalidHeartbeat) -> ApiError {
    let code = match invalid {
        InvalidHeartbeat::AgentId | InvalidHeartbeat::Nameless => ErrorCode::InvalidAgentId,
        InvalidHeartbeat::Json(_) | InvalidHeartbeat::NoObject | InvalidHeartbeat::Pid | InvalidHeartbeat::Cpu(_) => {
            ErrorCode::InvalidRequest
        }
    };
    ApiError::new(code, invalid.to_string())
}

/// The error for a heartbeat that is not the agent's.
pub(super) fn rejected(rejected: &Rejected) -> ApiError {
    let code = match rejected {
        Rejected::UnknownAgent => ErrorCode::InvalidAgentId,
        Rejected::WrongPid { .. } | Rejected::Outdated { .. } => ErrorCode::Conflict,
    };
    ApiError::new(code, rejected.to_string())
}

/// The error for a command or question that is declined.
pub(super) fn declined(declined: &Declined) -> ApiError {
    let code = match declined {
        Declined::UnknownAgent => ErrorCode::NotFound,
        Declined::NotNow(_) => ErrorCode::Conflict,
        Declined::Failed(_) => ErrorCode::InternalError,
    };
    ApiError::new(code, declined.to_string())
}
