//! `agent status`: the status file for people.

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

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_millis(500);

/// What `agent status` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: Choice,
    /// How old the file may be before it counts as stale
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = humantime::parse_duration)]
    max_age: Duration,
    /// What to print
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// Print again whenever the file changes, until interrupted
    #[arg(long)]
    watch: bool,
}

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A summary that is aligned, and coloured on a terminal
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
        Ok(path) => path,
        Err(error) => {
            let _ = writeln!(io::stderr(), "agent status: {error}");
            return ExitCode::from(Level::Unknown.exit_code());
        }
    };
    let terminal = io::IsTerminal::is_terminal(&io::stdout());
    let color = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
    let mut shown = None;
    loop {
        let observation = observe(&path, None, args.max_age);
        let level = observation.verdict.finding.level();
        // On a terminal, ages grow under the reader's eyes. Elsewhere, only news is printed.
        let news = (observation.verdict.finding, observation.file.as_ref().map(|file| file.sequence).ok());
        let repaint = args.watch && terminal && args.output == Output::Human;
        if (repaint || shown != Some(news)) && !print(&path, &observation, args.output, color, repaint) {
            return ExitCode::from(level.exit_code());
        }
        if !args.watch {
            return ExitCode::from(level.exit_code());
        }
        shown = Some(news);
        thread::sleep(LOOK);
    }
}

/// `false` if nobody reads any more.
fn print(path: &Path, observation: &Observation, output: Output, color: bool, repaint: bool) -> bool {
    let format = match output {
        Output::Human => None,
        Output::Json => Some(FileFormat::Json),
        Output::Ron => Some(FileFormat::Ron),
    };
    let text = match (format, &observation.file) {
        (Some(format), Ok(file)) => file.encode(format).unwrap_or_else(|error| format!("{error}\n")),
        (Some(_), Err(_)) => {
            return writeln!(io::stderr(), "agent status: {} ({})", observation.verdict, path.display()).is_ok();
        }
        (None, _) => {
            let styled = page(path, observation, clock::wall());
            if color { styled } else { anstream::adapter::strip_str(&styled).to_string() }
        }
    };
    let text = if repaint {
        // Home, each line cleared behind its text, the rest of the screen cleared: in one piece, so it does not flicker.
        format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
    } else {
        text
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}
