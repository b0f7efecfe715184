//! `lifecycle`: prints a state machine.

use std::process::ExitCode;

use statemachine::table::{Table, to_dot, to_mermaid, to_text};

use super::output::print;

/// The options of `lifecycle`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The output format
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Every event in every state, for a terminal
    Table,
    /// A diagram for Markdown
    Mermaid,
    /// A graph for Graphviz
    Dot,
}

/// Prints the state machine.
pub(super) fn run<T: Table>(args: &Args) -> ExitCode {
    print(&match args.format {
        Format::Table => to_text::<T>(),
        Format::Mermaid => to_mermaid::<T>(),
        Format::Dot => to_dot::<T>(),
    })
}
