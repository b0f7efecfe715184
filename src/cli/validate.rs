//! `agent validate`.

use std::error::Error as _;
use std::process::ExitCode;

use super::exit_code::BAD_CONFIG;
use super::output::{fail, fail_config, print};
use crate::agent::app::ConfigSource;
use crate::agent::status_file::StatusWriter;

/// Checks the configuration and the place of the status file. Prints every problem, or the notes and the file that is in
/// force.
pub(super) fn run(source: &ConfigSource) -> ExitCode {
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(problems) => return fail_config(&problems),
    };
    let state = &loaded.config.state;
    let warnings = match StatusWriter::check(&state.file, state.strict) {
        Ok(warnings) => warnings,
        Err(error) => return fail(&error.to_string(), error.source(), BAD_CONFIG),
    };
    let notes = loaded.notes.iter().chain(&warnings);
    let mut out: String = notes.map(|note| format!("note: {note}\n")).collect();
    let file = loaded.file.as_deref().map_or_else(|| "the embedded configuration".to_owned(), ops_config::file_name);
    out.push_str(&format!("OK - {file} is valid, for agent {}\n", loaded.config.agent_id));
    print(&out)
}
