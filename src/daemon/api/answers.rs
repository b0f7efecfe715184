//! The answers that HTTP and the socket share. Only this module decides which [`ErrorCode`] an error of the daemon
//! has; the HTTP status and the JSON-RPC code follow from it.

use ops_protocol::heartbeat::InvalidHeartbeat;
use ops_protocol::views::MessageView;
use ops_protocol::{ApiError, Command, ErrorCode};

use crate::daemon::control::{Declined, ReloadRefused};
use crate::daemon::registry::Rejected;

/// The answer to an accepted command.
pub(super) fn command_queued(id: &str, command: Command) -> MessageView {
    MessageView { message: format!("{} queued for {id}", command.as_str()).into() }
}

/// The error for a body or line that is not a heartbeat.
pub(super) fn invalid_heartbeat(invalid: &InvalidHeartbeat) -> ApiError {
    let code = match invalid {
        InvalidHeartbeat::AgentId | InvalidHeartbeat::Nameless => ErrorCode::InvalidAgentId,
        InvalidHeartbeat::Json(_) | InvalidHeartbeat::NoObject | InvalidHeartbeat::Pid => ErrorCode::InvalidRequest,
    };
    ApiError::new(code, invalid.to_string())
}

/// The error for a heartbeat that the agent's current process did not send.
pub(super) fn rejected(rejected: &Rejected) -> ApiError {
    let code = match rejected {
        Rejected::UnknownAgent => ErrorCode::InvalidAgentId,
        Rejected::WrongPid { .. } | Rejected::Unproved { .. } | Rejected::Outdated { .. } => ErrorCode::Conflict,
    };
    ApiError::new(code, rejected.to_string())
}

/// The error for a reload that changed nothing.
pub(super) fn reload_refused(refused: &ReloadRefused) -> ApiError {
    let code = match refused {
        ReloadRefused::Config(_) => ErrorCode::ConfigError,
        ReloadRefused::Failed(_) | ReloadRefused::NoResult(_) => ErrorCode::InternalError,
        ReloadRefused::Busy => ErrorCode::Busy,
        ReloadRefused::Ending => ErrorCode::Unavailable,
    };
    ApiError::new(code, refused.to_string())
}

/// The error for a command or query that is declined.
pub(super) fn declined(declined: &Declined) -> ApiError {
    let code = match declined {
        Declined::UnknownAgent(_) => ErrorCode::NotFound,
        Declined::NotNow(_) => ErrorCode::Conflict,
        Declined::Failed(_) => ErrorCode::InternalError,
    };
    ApiError::new(code, declined.to_string())
}
