//! `agent schema` and `daemon schema`.

use std::process::ExitCode;

use super::output::print;
use ops_config::{Program, document};

/// The options of `schema`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A JSON Schema, for editors and validators
    Json,
    /// A configuration file with every key
    Example,
    /// Tables for Markdown
    Markdown,
}

/// Prints every key of a configuration file.
pub(super) fn run(program: Program, args: &Args) -> ExitCode {
    let format = match args.format {
        Format::Json => ops_config::Format::JsonSchema,
        Format::Example => ops_config::Format::Example,
        Format::Markdown => ops_config::Format::Markdown,
    };
    print(&document(program, format))
}
