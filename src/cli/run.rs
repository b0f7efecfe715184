//! `agent run`.

use std::error::Error as _;
use std::process::ExitCode;
use std::time::Duration;

use statemachine::lifecycle::ExitKind;

use super::exit_code::FAILED;
use super::output::{fail, fail_config};
use crate::agent::app::{self, ConfigSource};
use ops_runtime::logging;
use ops_runtime::signals::Handlers;

/// How long the end of the process waits for a log whose disk or terminal takes no more lines.
pub(super) const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the agent in the foreground.
pub(super) fn run(source: ConfigSource) -> ExitCode {
    // First of all: a signal without a handler would end the process and look like a clean exit.
    let handlers = match Handlers::install() {
        Ok(handlers) => handlers,
        Err(error) => {
            let text = "cannot watch for signals: raise the limits on open files and processes";
            return fail(text, Some(&error), FAILED);
        }
    };
    let end = app::run(handlers, source);
    logging::flush(LOG_FLUSH_TIMEOUT);
    match end {
        Ok(app::End { outcome: ExitKind::Clean, .. }) => ExitCode::SUCCESS,
        Ok(app::End { outcome: ExitKind::Forced, .. }) => ExitCode::from(FAILED),
        Ok(app::End { outcome: ExitKind::Failed, cause }) => fail(&cause, None, FAILED),
        Err(app::StartError::Config(problems)) => fail_config(&problems),
        Err(error) => fail(&error.to_string(), error.source(), FAILED),
    }
}
