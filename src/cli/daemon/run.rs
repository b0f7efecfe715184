//! `daemon run` and `daemon validate`.

use std::error::Error as _;
use std::process::ExitCode;

use super::ask::complain;
use crate::cli::exit_code::FAILED;
use crate::cli::output::{fail_config, print};
use crate::daemon::app::{self, ConfigSource, StartError};
use ops_runtime::signals::Handlers;

/// Runs the daemon in the foreground.
pub(super) fn run(source: ConfigSource) -> ExitCode {
    // Before anything else: a signal that finds no handler ends the process, and looks like a clean exit.
    let handlers = match Handlers::install() {
        Ok(handlers) => handlers,
        Err(error) => {
            return complain(
                "cannot watch for signals: see the limits on open files and processes",
                Some(&error),
                FAILED,
            );
        }
    };
    match app::run(handlers, source) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(end)) if end.in_order => ExitCode::SUCCESS,
        Ok(Some(_)) => ExitCode::from(FAILED),
        Err(StartError::Config(problems)) => fail_config(&problems),
        Err(error) => complain(&error.to_string(), error.source(), FAILED),
    }
}

/// Checks the configuration, and prints what would be supervised or all that is wrong.
pub(super) fn validate(source: &ConfigSource) -> ExitCode {
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(problems) => return fail_config(&problems),
    };
    let mut out: String = loaded.notes.iter().map(|note| format!("note: {note}\n")).collect();
    let file = loaded.file.unwrap_or_default();
    let ids: Vec<&str> = loaded.config.agents.iter().map(|agent| agent.id.as_str()).collect();
    out.push_str(&format!("OK - {} is right, for {} agents: {}\n", file.display(), ids.len(), ids.join(", ")));
    print(&out)
}
