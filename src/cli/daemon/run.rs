//! `daemon run` and `daemon validate`.

use std::error::Error as _;
use std::process::ExitCode;

use crate::cli::exit_code::FAILED;
use crate::cli::output::{fail, fail_config, print};
use crate::cli::run::in_foreground;
use crate::daemon::app::{self, ConfigSource, StartError};

/// Runs the daemon in the foreground.
pub(super) fn run(source: ConfigSource) -> ExitCode {
    match in_foreground(|handlers| app::run(handlers, source)) {
        Ok(Ok(None)) => ExitCode::SUCCESS,
        Ok(Ok(Some(end))) if end.in_order => ExitCode::SUCCESS,
        Ok(Ok(Some(_))) => ExitCode::from(FAILED),
        Ok(Err(StartError::Config(problems))) => fail_config(&problems),
        Ok(Err(error)) => fail(&error.to_string(), error.source(), FAILED),
        Err(code) => code,
    }
}

/// Checks the configuration. Prints the agents that it has, or all its problems.
pub(super) fn validate(source: &ConfigSource) -> ExitCode {
    let loaded = match source.validate() {
        Ok(loaded) => loaded,
        Err(problems) => return fail_config(&problems),
    };
    let mut out: String = loaded.notes.iter().map(|note| format!("note: {note}\n")).collect();
    let file = ops_config::file_name(&loaded.file.unwrap_or_default());
    if !loaded.included.is_empty() {
        let included = loaded.included.iter().map(|path| ops_config::file_name(path));
        out.extend(std::iter::once(file.clone()).chain(included).map(|file| format!("read: {file}\n")));
    }
    let ids: Vec<&str> = loaded.config.agents.iter().map(|agent| agent.id.as_str()).collect();
    out.push_str(&format!("OK - {} is valid and has {} agents: {}\n", file, ids.len(), ids.join(", ")));
    print(&out)
}
