//! `agent run`.

use std::process::ExitCode;

use statemachine::lifecycle::ExitKind;

use super::agent::ConfigArgs;
use super::{FAILED, complain, complain_of_config};
use crate::agent::app;
use ops_config::{Environment, Overrides};
use ops_runtime::signals::Handlers;

/// Runs the agent in the foreground. `set` is what flags of their own set: flag, key, value.
pub(super) fn run(args: &ConfigArgs, set: impl Iterator<Item = (&'static str, &'static str, String)>) -> ExitCode {
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
    match app::run(handlers, source(args, set)) {
        Ok(app::End { outcome: ExitKind::Clean, .. }) => ExitCode::SUCCESS,
        Ok(app::End { outcome: ExitKind::Forced, .. }) => ExitCode::from(FAILED),
        Ok(app::End { outcome: ExitKind::Failed, cause }) => complain(&cause, None, FAILED),
        Err(app::StartError::Config(problems)) => complain_of_config(&problems),
        Err(error) => complain(&error.to_string(), std::error::Error::source(&error), FAILED),
    }
}

/// Where the configuration comes from, as the command line has it.
pub(super) fn source(
    args: &ConfigArgs,
    set: impl Iterator<Item = (&'static str, &'static str, String)>,
) -> app::ConfigSource {
    let mut overrides = Overrides::none();
    for (key, value) in &args.set {
        overrides = overrides.set("--set", key, value);
    }
    for (flag, key, value) in set {
        overrides = overrides.set(flag, key, &value);
    }
    app::ConfigSource { file: args.config.clone(), environment: Environment::of_this_process(), overrides }
}
