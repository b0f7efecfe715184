//! Requests to a running daemon over its socket.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{NOT_RUNNING, SocketArgs, UNKNOWN};
use crate::cli::exit_code::FAILED;
use crate::cli::output::{fail, fail_config};
use crate::daemon::client::{ClientError, call};
use ops_config::load_daemon_socket;
use ops_runtime::paths::absolute;

/// The time limit of an answer. Only the answer to `logs` reads a disk.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit of a reload: the daemon's own limit, and a reload that is in progress already.
pub(super) const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

impl SocketArgs {
    /// The path of the socket.
    ///
    /// # Errors
    ///
    /// The exit code, after the problems of the configuration have been printed.
    pub(super) fn path(&self) -> Result<PathBuf, ExitCode> {
        match &self.socket {
            Some(socket) => Ok(absolute(socket)),
            None => {
                let socket = load_daemon_socket(self.config.as_deref()).map_err(|problems| fail_config(&problems))?;
                Ok(absolute(&socket))
            }
        }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The daemon did not answer, or answered with an error.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer has another form than this program expects.
    #[error("the daemon's answer has an unknown form: use the command of the daemon's version")]
    OtherVersion(#[source] serde_json::Error),
}

impl RequestError {
    /// Prints the error, and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        fail(&self.to_string(), self.source(), self.exit_code())
    }

    /// 3: no daemon is running. 1: the daemon declined. 4: the state is unknown.
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::NotRunning(_)) => NOT_RUNNING,
            Self::Client(ClientError::Declined(_)) => FAILED,
            Self::Client(
                ClientError::NotPermitted { .. }
                | ClientError::NotConnected { .. }
                | ClientError::Closed { .. }
                | ClientError::Malformed { .. }
                | ClientError::TimedOut { .. },
            )
            | Self::OtherVersion(_) => UNKNOWN,
        }
    }
}

/// Sends a request and reads its answer.
pub(super) fn request<T: DeserializeOwned>(socket: &Path, method: &str, params: Value) -> Result<T, RequestError> {
    request_within(ANSWER_TIMEOUT, socket, method, params)
}

/// The same with another time limit.
pub(super) fn request_within<T: DeserializeOwned>(
    timeout: Duration,
    socket: &Path,
    method: &str,
    params: Value,
) -> Result<T, RequestError> {
    let answer = smol::block_on(call(socket, method, params, timeout))?;
    serde_json::from_value(answer).map_err(RequestError::OtherVersion)
}
