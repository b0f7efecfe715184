//! `agent validate`.

use std::process::ExitCode;

use super::output::{fail_config, print};
use crate::agent::app::ConfigSource;

/// Checks the configuration, and prints every problem, or the notes and the file that is in force.
pub(super) fn run(source: &ConfigSource) -> ExitCode {
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(problems) => return fail_config(&problems),
    };
    let mut out: String = loaded.notes.iter().map(|note| format!("note: {note}\n")).collect();
    let file = loaded.file.as_deref().map_or_else(|| "the embedded configuration".to_owned(), ops_config::file_name);
    out.push_str(&format!("OK - {file} is valid, for agent {}\n", loaded.config.agent_id));
    print(&out)
}
