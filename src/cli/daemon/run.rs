//! `daemon run` and `daemon validate`.

use std::error::Error as _;
use std::process::ExitCode;

use crate::cli::exit_code::FAILED;
use crate::cli::output::{fail, fail_config, print};
use crate::cli::run::LOG_FLUSH_TIMEOUT;
use crate::daemon::app::{self, ConfigSource, StartError};
use ops_runtime::logging;
use ops_runtime::signals::Handlers;

/// Runs the daemon in the foreground.
pub(super) fn run(source: ConfigSource) -> ExitCode {
    // This comes first, because a signal without a handler ends the process and looks like a clean exit.
    let handlers = match Handlers::install() {
        Ok(handlers) => handlers,
        Err(error) => {
            return fail(
                "cannot watch for signals: raise the limits on open files and processes",
                Some(&error),
                FAILED,
            );
        }
    };
    let end = app::run(handlers, source);
    logging::flush(LOG_FLUSH_TIMEOUT);
    match end {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(end)) if end.in_order => ExitCode::SUCCESS,
        Ok(Some(_)) => ExitCode::from(FAILED),
        Err(StartError::Config(problems)) => fail_config(&problems),
        Err(error) => fail(&error.to_string(), error.source(), FAILED),
    }
}

/// Checks the configuration. Prints the agents that it has, or all its problems.
pub(super) fn validate(source: &ConfigSource) -> ExitCode {
    let loaded = match source.validate() {
        Ok(loaded) => loaded,
        Err(problems) => return fail_config(&problems),
    };
    let mut out: String = loaded.notes.iter().map(|note| format!("note: {note}\n")).collect();
    let file = loaded.file.unwrap_or_default();
    let ids: Vec<&str> = loaded.config.agents.iter().map(|agent| agent.id.as_str()).collect();
    out.push_str(&format!("OK - {} is valid and has {} agents: {}\n", file.display(), ids.len(), ids.join(", ")));
    print(&out)
}
