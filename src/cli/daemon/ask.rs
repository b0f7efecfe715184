//! Asking a running daemon over its socket.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{NOT_RUNNING, UNKNOWN, Whereabouts};
use crate::cli::exit_code::FAILED;
use crate::cli::output::{fail, fail_config};
use crate::daemon::client::{ClientError, call};
use ops_config::{Overrides, load_daemon};

/// How long an answer may take. It comes from memory, but for logs.
const PATIENCE: Duration = Duration::from_secs(10);

impl Whereabouts {
    /// The socket.
    ///
    /// # Errors
    ///
    /// The exit code, once the reader knows what is wrong with the configuration.
    pub(super) fn find(&self) -> Result<PathBuf, ExitCode> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => load_daemon(self.config.as_deref(), &Overrides::none())
                .map(|loaded| loaded.config.socket_path)
                .map_err(|problems| fail_config(&problems)),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The daemon did not give one, or gave this one.
    Client(ClientError),
    /// It gave one that this program does not understand: it is of another version.
    Strange(serde_json::Error),
}

impl NoAnswer {
    /// Says so, and gives the exit code.
    pub(super) fn complain(&self) -> ExitCode {
        match self {
            Self::Client(error) => complain(&error.to_string(), error.source(), self.exit_code()),
            Self::Strange(error) => {
                let text = "the answer is not understood: is the daemon that runs of the same version?";
                complain(text, Some(error), self.exit_code())
            }
        }
    }

    /// 3 if no daemon is running, 1 if it says no, 4 if nothing can be told.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) if error.is_nobody_there() => NOT_RUNNING,
            Self::Client(error) if error.declined().is_some() => FAILED,
            Self::Client(_) | Self::Strange(_) => UNKNOWN,
        }
    }
}

/// Asks for one thing.
pub(super) fn ask<T: DeserializeOwned>(socket: &Path, method: &str, params: Value) -> Result<T, NoAnswer> {
    let answer = smol::block_on(call(socket, method, params, PATIENCE)).map_err(NoAnswer::Client)?;
    serde_json::from_value(answer).map_err(NoAnswer::Strange)
}

/// Says what went wrong and why, and gives the exit code.
pub(super) fn complain(text: &str, cause: Option<&(dyn Error + 'static)>, code: u8) -> ExitCode {
    fail("daemon", text, cause, code)
}
