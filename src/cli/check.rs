//! `agent check`: one line and an exit code, from the status file alone.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use super::state_file::Choice;
use ops_protocol::verdict::Level;
use ops_runtime::observe::observe;

/// What `agent check` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: Choice,
    /// How old the file may be; it may never be older than it says itself
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = humantime::parse_duration)]
    max_age: Duration,
}

/// Prints the verdict. The exit code is 0 for OK, 1 for a warning, 2 for critical, 3 for unknown.
#[must_use]
pub(crate) fn run(args: &Args) -> ExitCode {
    let (line, level) = match args.file.locate() {
        Ok(path) => {
            let verdict = observe(&path, None, args.max_age).verdict;
            let level = verdict.finding.level();
            // Who reads "no status file" wants to know which.
            let place = if level == Level::Unknown { format!(" ({})", path.display()) } else { String::new() };
            (format!("{verdict}{place}"), level)
        }
        Err(error) => (format!("{} - {error}", Level::Unknown), Level::Unknown),
    };
    // Whoever reads no further than the exit code may have closed the pipe.
    let _ = writeln!(io::stdout(), "{line}");
    ExitCode::from(level.exit_code())
}
