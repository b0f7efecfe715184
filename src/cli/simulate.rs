//! `--simulate PLAN`.

use std::path::Path;
use std::process::ExitCode;

use super::output::fail_config;
use super::run::{ended, in_foreground};
use crate::agent::app::{self, ConfigSource};
use crate::agent::simulate;
use crate::agent::simulate::plan::Plan;

/// Prints the problem of a plan, and returns the exit code. `None`: there is none.
pub(super) fn refuse(plan: &Path) -> Option<ExitCode> {
    Plan::read(plan).err().map(|problems| fail_config(&problems))
}

/// Runs a simulated agent in the foreground.
pub(super) fn run(plan: &Path, source: ConfigSource) -> ExitCode {
    let plan = match Plan::read(plan) {
        Ok(plan) => plan,
        Err(problems) => return fail_config(&problems),
    };
    let end = in_foreground(|handlers| {
        let simulation = simulate::begin(plan).map_err(app::StartError::Simulation)?;
        let end = app::run_with(handlers, source, &simulation);
        simulation.note_end(&end);
        end
    });
    ended(end)
}
