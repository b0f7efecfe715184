//! `cargo run -p ops-model -- short | full`: searches, and prints a table in Markdown. Exit code 1: a promise was not kept.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

use std::process::ExitCode;

use ops_model::scenarios::{full, short, table};

fn main() -> ExitCode {
    let found = match std::env::args().nth(1).as_deref() {
        None | Some("full") => full(),
        Some("short") => short(),
        Some(other) => {
            eprintln!("`{other}` is neither `short` nor `full`");
            return ExitCode::from(64);
        }
    };
    print!("{}", table(&found));
    let broken: Vec<&String> = found.iter().flat_map(|found| &found.broken).collect();
    for way in &broken {
        eprintln!("{way}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
