//! `agent status`: shows the status file in readable form.

pub(crate) mod page;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};

use self::page::page;
use super::state_file::Choice;
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
    /// Print again when the file changes, until interrupted
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
    let terminal = io::IsTerminal::is_terminal(&io::stdout());
    let color = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
    let mut shown = None;
    loop {
        let observation = observe(&path, None, args.max_age);
        let level = observation.verdict.finding.level();
        // A terminal is repainted, so that ages grow. Other outputs get only changes.
        let current = (observation.verdict.finding, observation.file.as_ref().map(|file| file.sequence).ok());
        let repaint = args.watch && terminal && args.output == Output::Human;
        if (repaint || shown != Some(current)) && !print(&path, &observation, args.output, color, repaint) {
            return ExitCode::from(level.exit_code());
        }
        if !args.watch {
            return ExitCode::from(level.exit_code());
        }
        shown = Some(current);
        thread::sleep(WATCH_INTERVAL);
    }
}

/// `false` if the output cannot be written, for example to a closed pipe.
fn print(path: &Path, observation: &Observation, output: Output, color: bool, repaint: bool) -> bool {
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
        (None, _) => {
            let styled = page(path, observation, clock::wall());
            if color { styled } else { anstream::adapter::strip_str(&styled).to_string() }
        }
    };
    let text = if repaint {
        // Moves the cursor to the top left, clears each line after its text, then clears the rest. One write avoids flicker.
        format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
    } else {
        text
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}
