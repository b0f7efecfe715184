//! `agent check`: judges an agent by its status file alone, in one line and an exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use super::state_file::Choice;
use ops_protocol::verdict::{Level, StatusFinding};
use ops_runtime::observe::observe;
use ops_runtime::paths::absolute;

/// The options of `agent check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: Choice,
    /// The maximum age of the file. The file's own limit applies too
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = humantime::parse_duration)]
    max_age: Duration,
    /// Degraded is OK too, as for `/livez`: a restart would not remove the fault
    #[arg(long)]
    live: bool,
}

impl Args {
    fn level(&self, finding: StatusFinding) -> Level {
        if self.live && finding == StatusFinding::Degraded { Level::Ok } else { finding.level() }
    }
}

/// Prints the verdict. The exit code is 0 for OK, 1 for a warning, 2 for critical, 3 for unknown.
#[must_use]
pub(crate) fn run(args: &Args) -> ExitCode {
    let (line, level) = match args.file.locate() {
        Ok(path) => {
            let verdict = observe(&path, None, args.max_age).verdict;
            let level = args.level(verdict.finding);
            // A message such as "no status file" needs the path.
            let path =
                if level == Level::Unknown { format!(" ({})", absolute(&path).display()) } else { String::new() };
            (format!("{level} - {}{path}", verdict.message), level)
        }
        Err(error) => (format!("{} - {error}", Level::Unknown), Level::Unknown),
    };
    // A reader that needs only the exit code may have closed the pipe.
    let _ = writeln!(io::stdout(), "{line}");
    ExitCode::from(level.exit_code())
}
