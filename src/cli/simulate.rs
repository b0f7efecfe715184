//! `--simulate PLAN`.

use std::path::Path;
use std::process::ExitCode;

use super::output::{fail_config, print};
use super::run::{ended, exit_code, in_foreground};
use crate::agent::app::{self, ConfigSource};
use crate::agent::simulate;
use crate::agent::simulate::plan::Plan;

/// Says that a plan is valid, or prints its problem and returns the exit code.
pub(super) fn check(path: &Path) -> Option<ExitCode> {
    match Plan::read(path) {
        Ok(plan) => {
            let steps = plan.steps.len();
            print(&format!("OK - {} is a valid plan, with {steps} steps\n", path.display()));
            None
        }
        Err(problems) => Some(fail_config(&problems)),
    }
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
        simulation.note_exit(exit_code(&end));
        end
    });
    ended(end)
}
