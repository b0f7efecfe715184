//! `agent status`: shows the status file in readable form.

pub(crate) mod page;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};

use self::page::page;
use super::exit_code::FAILED;
use super::output::fail;
use super::screen::{Screen, Size, Wake};
use super::state_file::Choice;
use super::text::cut_styled;
use ops_protocol::status_file::FileFormat;
use ops_protocol::verdict::Level;
use ops_runtime::clock;
use ops_runtime::observe::{Observation, observe};
use ops_runtime::paths::absolute;
use ops_runtime::program;

/// How often `--watch` reads the file.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// The options of `agent status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: Choice,
    /// The maximum age of the file; an older file is stale
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = humantime::parse_duration)]
    max_age: Duration,
    /// The output format
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// Print again when the file changes, until interrupted; on a terminal, until `q` is pressed
    #[arg(long)]
    watch: bool,
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// An aligned summary, in colour on a terminal
    Human,
    /// The file as JSON
    Json,
    /// The file as RON
    Ron,
}

/// Prints the status. The exit code is that of `agent check`.
#[must_use]
pub(crate) fn run(args: &Args) -> ExitCode {
    let path = match args.file.locate() {
        Ok(path) => absolute(&path),
        Err(error) => {
            let _ = writeln!(io::stderr(), "{} status: {error}", program::name());
            return ExitCode::from(Level::Unknown.exit_code());
        }
    };
    let color = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
    if args.watch && io::IsTerminal::is_terminal(&io::stdout()) && args.output == Output::Human {
        return watch(args, &path, color);
    }
    let mut shown = None;
    loop {
        let observation = observe(&path, None, args.max_age);
        let level = observation.verdict.finding.level();
        let current = (observation.verdict.finding, observation.file.as_ref().map(|file| file.sequence).ok());
        if shown != Some(current) && !print(&path, &observation, args.output, color) {
            return ExitCode::from(level.exit_code());
        }
        if !args.watch {
            return ExitCode::from(level.exit_code());
        }
        shown = Some(current);
        thread::sleep(WATCH_INTERVAL);
    }
}

/// Repaints the terminal, so that ages grow, until `q` is pressed or a signal ends the command.
fn watch(args: &Args, path: &Path, color: bool) -> ExitCode {
    let screen = match Screen::open() {
        Ok(screen) => screen,
        Err(error) => return fail("the terminal cannot be used: leave out --watch", Some(&error), FAILED),
    };
    loop {
        let observation = observe(path, None, args.max_age);
        let text = human(path, &observation, color);
        let Size { columns, rows } = Screen::size();
        let lines: Vec<String> = text.lines().take(rows).map(|line| cut_styled(line, columns)).collect();
        let left = screen.paint(&lines).is_err() || screen.wait(WATCH_INTERVAL) == Wake::Quit;
        if left {
            return ExitCode::from(observation.verdict.finding.level().exit_code());
        }
    }
}

/// The summary.
fn human(path: &Path, observation: &Observation, color: bool) -> String {
    let styled = page(path, observation, clock::wall());
    if color { styled } else { anstream::adapter::strip_str(&styled).to_string() }
}

/// `false` if the output cannot be written, for example to a closed pipe.
fn print(path: &Path, observation: &Observation, output: Output, color: bool) -> bool {
    let format = match output {
        Output::Human => None,
        Output::Json => Some(FileFormat::Json),
        Output::Ron => Some(FileFormat::Ron),
    };
    let text = match (format, &observation.file) {
        (Some(format), Ok(file)) => file.encode(format).unwrap_or_else(|error| format!("{error}\n")),
        (Some(_), Err(_)) => {
            return writeln!(io::stderr(), "{} status: {} ({})", program::name(), observation.verdict, path.display())
                .is_ok();
        }
        (None, _) => human(path, observation, color),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}
