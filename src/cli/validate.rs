//! `agent validate`.

use std::process::ExitCode;

use super::agent::ConfigArgs;
use super::{complain_of_config, print, run};

/// Checks the configuration, and prints what would be in force or all that is wrong.
pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let loaded = match run::source(args, std::iter::empty()).load() {
        Ok(loaded) => loaded,
        Err(problems) => return complain_of_config(&problems),
    };
    let mut out = String::new();
    for note in &loaded.notes {
        out.push_str(&format!("note: {note}\n"));
    }
    let file = loaded
        .file
        .as_deref()
        .map_or_else(|| "the embedded configuration".to_owned(), |file| file.display().to_string());
    out.push_str(&format!("OK - {file} is right, for agent {}\n", loaded.config.agent_id));
    print(&out)
}
