//! `agent run`, and what it has in common with `daemon run`.

use std::error::Error as _;
use std::process::ExitCode;
use std::time::Duration;

use statemachine::lifecycle::ExitKind;

use super::exit_code::{FAILED, of_problems};
use super::output::{fail, fail_config};
use crate::agent::app::{self, ConfigSource};
use ops_runtime::logging;
use ops_runtime::signals::Handlers;

/// How long the end of the process waits for a log whose disk or terminal takes no more lines.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the agent in the foreground.
pub(super) fn run(source: ConfigSource) -> ExitCode {
    ended(in_foreground(|handlers| app::run(handlers, source)))
}

/// The exit code of an agent that has ended, after its error has been printed.
pub(super) fn ended(end: Result<Result<app::End, app::StartError>, ExitCode>) -> ExitCode {
    let end = match end {
        Ok(end) => end,
        Err(code) => return code,
    };
    let code = exit_code(&end);
    match end {
        Ok(app::End { outcome: ExitKind::Failed, cause }) => fail(&cause, None, code),
        Ok(app::End { outcome: ExitKind::Clean | ExitKind::Forced, .. }) => ExitCode::from(code),
        Err(app::StartError::Config(problems)) => fail_config(&problems),
        Err(error) => fail(&error.to_string(), error.source(), code),
    }
}

/// The exit code of an agent that has ended like this.
pub(super) fn exit_code(end: &Result<app::End, app::StartError>) -> u8 {
    match end {
        Ok(app::End { outcome: ExitKind::Clean, .. }) => 0,
        Err(app::StartError::Config(problems)) => of_problems(problems),
        Ok(app::End { outcome: ExitKind::Forced | ExitKind::Failed, .. }) | Err(_) => FAILED,
    }
}

/// Runs a program with handlers for its signals, and waits until its log is written.
///
/// # Errors
///
/// The exit code, after an error has been printed: the handlers cannot be installed, so the program was not run.
pub(super) fn in_foreground<T>(program: impl FnOnce(Handlers) -> T) -> Result<T, ExitCode> {
    // First of all: a signal without a handler would end the process and look like a clean exit.
    let handlers = Handlers::install().map_err(|error| {
        let text = "cannot watch for signals: raise the limits on open files and processes";
        fail(text, Some(&error), FAILED)
    })?;
    let end = program(handlers);
    logging::flush(LOG_FLUSH_TIMEOUT);
    Ok(end)
}
