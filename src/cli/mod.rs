//! The command lines: what they take, what they print, and their exit codes.

pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod daemon;
pub(crate) mod generate;
pub(crate) mod lifecycle;
pub(crate) mod run;
pub(crate) mod state_file;
pub(crate) mod status;
pub(crate) mod validate;

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use ops_config::Problems;
use ops_runtime::causes;

/// It failed, or was forced.
const FAILED: u8 = 1;
/// Wrong usage: `EX_USAGE` of sysexits(3).
const WRONG_USAGE: u8 = 64;
/// Wrong configuration: `EX_CONFIG` of sysexits(3).
const BAD_CONFIG: u8 = 78;

/// Prints what was asked for. A reader that has gone away, as `head` does, is no failure.
fn print(text: &str) -> ExitCode {
    match anstream::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain("standard output cannot be written to", Some(&error), FAILED)
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Says what went wrong and why, and gives the exit code.
fn complain(text: &str, cause: Option<&(dyn Error + 'static)>, code: u8) -> ExitCode {
    complain_as("agent", text, cause, code)
}

/// The same in the name of `program`.
fn complain_as(program: &str, text: &str, cause: Option<&(dyn Error + 'static)>, code: u8) -> ExitCode {
    let line = causes::line(format!("{program}: {text}"), cause) + "\n";
    // If even standard error is gone, the exit code has to do.
    let _ = io::stderr().write_all(line.as_bytes());
    ExitCode::from(code)
}

fn complain_of_config(problems: &Problems) -> ExitCode {
    let color =
        io::stderr().is_terminal() && anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let _ = io::stderr().write_all(problems.render(color).as_bytes());
    // Whoever gives up on a wrong configuration, as the daemon does, must not give up on this.
    ExitCode::from(if problems.is_passing() { FAILED } else { BAD_CONFIG })
}

/// Help and version go to standard output and are no failure; anything else is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS }
}
