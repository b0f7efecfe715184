//! What the commands print, and the exit codes that go with it.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use clap::FromArgMatches;

use super::exit_code::{FAILED, WRONG_USAGE, of_problems};
use ops_config::Problems;
use ops_protocol::printable::is_deceptive;
use ops_runtime::causes;
use ops_runtime::logging::{self, LogLevel};
use ops_runtime::program;

/// Prints the output of a command. A closed pipe is no failure: the reader, such as `head`, has read enough.
pub(super) fn print(text: &str) -> ExitCode {
    match anstream::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            write_error("cannot write to standard output".to_owned(), Some(&error));
            ExitCode::from(FAILED)
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Prints an error of this program with its cause, and returns `code`.
pub(super) fn fail(text: &str, cause: Option<&(dyn Error + 'static)>, code: u8) -> ExitCode {
    write_error(format!("{}: {text}", program::name()), cause);
    ExitCode::from(code)
}

/// Prints every problem of a configuration.
pub(super) fn fail_config(problems: &Problems) -> ExitCode {
    let color =
        io::stderr().is_terminal() && anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    write_to_stderr(problems.render(color));
    ExitCode::from(of_problems(problems))
}

/// Parses a command line whose definition was changed after `T` declared it.
pub(super) fn parse<T: FromArgMatches>(
    mut command: clap::Command,
    args: impl IntoIterator<Item = OsString>,
) -> Result<T, clap::Error> {
    let mut matches = command.try_get_matches_from_mut(args)?;
    T::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Prints what clap returns. Help and version go to standard output and are no failure. The rest is wrong usage.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS }
}

fn write_error(text: String, cause: Option<&(dyn Error + 'static)>) {
    let text = causes::line(text, cause).replace(|c| is_deceptive(c) && c != '\n', " ");
    write_to_stderr(text + "\n");
}

fn write_to_stderr(text: String) {
    let text = logging::with_priority(io::stderr().as_fd(), LogLevel::Error, text);
    // If standard error fails too, the exit code alone reports the error.
    let _ = io::stderr().write_all(text.as_bytes());
}
