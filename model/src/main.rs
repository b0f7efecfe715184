//! `cargo run -p ops-model -- short | full`: searches, and prints a table in Markdown. Exit code 1: an invariant is violated.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::process::ExitCode;

use ops_model::scenarios::{full, short, table};

fn main() -> ExitCode {
    let results = match std::env::args().nth(1).as_deref() {
        None | Some("full") => full(),
        Some("short") => short(),
        Some(other) => {
            eprintln!("unknown bounds `{other}`: use `short` or `full`");
            return ExitCode::from(64);
        }
    };
    print!("{}", table(&results));
    let failures: Vec<&String> = results.iter().flat_map(|result| &result.failures).collect();
    for failure in &failures {
        eprintln!("{failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
