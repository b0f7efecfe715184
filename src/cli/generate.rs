//! Completions and the man page, made from the definition of the command line.

use std::process::ExitCode;

use super::exit_code::FAILED;
use super::output::{fail, print};

/// The options of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the completions for a shell.
pub(super) fn completions(command: &mut clap::Command, args: &CompletionArgs) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut out = Vec::new();
    clap_complete::generate(args.shell, command, name, &mut out);
    print(&String::from_utf8_lossy(&out))
}

/// Prints the man page.
pub(super) fn man(command: clap::Command) -> ExitCode {
    let mut out = Vec::new();
    match clap_mangen::Man::new(command).render(&mut out) {
        Ok(()) => print(&String::from_utf8_lossy(&out)),
        Err(error) => fail("cannot make the man page", Some(&error), FAILED),
    }
}
