//! `agent check`: judges an agent by its status file alone, in one line and an exit code, as monitoring plugins do.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use super::state_file::Choice;
use ops_protocol::printable::on_one_line;
use ops_protocol::status_file::StatusFile;
use ops_protocol::verdict::{Level, StatusFinding, StatusVerdict};
use ops_runtime::observe::{Observation, observe, observe_within};
use ops_runtime::paths::absolute;
use ops_runtime::program;

/// The options of `agent check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: Choice,
    /// The age of the file from which on it is a warning, such as 1m; a bare number is seconds
    #[arg(short, long, value_name = "AGE", value_parser = age)]
    warning: Option<Duration>,
    /// The age from which on it is critical. Without it, the file's own limit applies: three of its refresh intervals
    #[arg(short, long, alias = "max-age", value_name = "AGE", value_parser = age)]
    critical: Option<Duration>,
    /// Degraded is OK too, as for `/livez`: a restart would not remove the fault
    #[arg(long)]
    live: bool,
}

impl Args {
    fn level(&self, verdict: &StatusVerdict) -> Level {
        let is_live = self.live && verdict.finding == StatusFinding::Degraded;
        let level = if is_live { Level::Ok } else { verdict.finding.level() };
        let is_old = self.warning.zip(verdict.age).is_some_and(|(limit, age)| age > limit);
        if is_old && level == Level::Ok { Level::Warning } else { level }
    }
}

/// A duration with its unit, or a number of seconds.
fn age(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| format!("{error}: write 90, 90s or 1m30s")),
    }
}

/// Prints the verdict. The exit code is 0 for OK, 1 for a warning, 2 for critical, 3 for unknown.
#[must_use]
pub(crate) fn run(args: &Args) -> ExitCode {
    if let (Some(warning), Some(critical)) = (args.warning, args.critical)
        && warning > critical
    {
        return report(Level::Unknown, "--warning is more than --critical, so it would never show", "");
    }
    match args.file.locate() {
        Ok(path) => {
            let Observation { file, verdict } = match args.critical {
                Some(critical) => observe_within(&path, critical),
                None => observe(&path, None, Duration::MAX),
            };
            let level = args.level(&verdict);
            // A message such as "no status file" needs the path.
            let path =
                if level == Level::Unknown { format!(" ({})", absolute(&path).display()) } else { String::new() };
            let figures = file.map_or_else(|_| String::new(), |file| figures(args, &file, &verdict));
            report(level, &(verdict.message + &path), &figures)
        }
        Err(error) => report(Level::Unknown, &error.to_string(), ""),
    }
}

/// The age with its limits, for programs that draw it. Empty if the age is not known.
fn figures(args: &Args, file: &StatusFile, verdict: &StatusVerdict) -> String {
    let Some(age) = verdict.age else { return String::new() };
    let own = file.valid_until.0.duration_since(file.updated_at.0).unwrap_or_default();
    let limit = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64().to_string()).unwrap_or_default();
    let (warning, critical) = (limit(args.warning), limit(Some(args.critical.unwrap_or(own))));
    format!(" | age={:.1}s;{warning};{critical};0", age.as_secs_f64())
}

/// A wrong command line, on one line of standard output, because a monitoring system shows no other. `None`: it is not of
/// this command, or asks for help.
pub(crate) fn usage(args: &[OsString], error: &clap::Error) -> Option<ExitCode> {
    let is_this = args.get(1).is_some_and(|command| command == "check") && error.use_stderr();
    is_this.then(|| {
        let text = error.to_string();
        let fact = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        report(Level::Unknown, &format!("{fact}: see `{} check --help`", program::name()), "")
    })
}

fn report(level: Level, message: &str, figures: &str) -> ExitCode {
    // What follows a bar is for programs.
    let message = on_one_line(message).replace('|', "/");
    // A reader that needs only the exit code may have closed the pipe.
    let _ = writeln!(io::stdout(), "{level} - {message}{figures}");
    ExitCode::from(level.exit_code())
}
