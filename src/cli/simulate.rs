//! `--simulate PLAN`.

use std::path::Path;
use std::process::ExitCode;

use super::output::fail_config;
use crate::agent::simulate::plan::Plan;

/// Prints the problem of a plan, and returns the exit code. `None`: there is none.
pub(super) fn refuse(plan: &Path) -> Option<ExitCode> {
    Plan::read(plan).err().map(|problems| fail_config(&problems))
}
