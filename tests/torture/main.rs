//! `make torture`: tries to make agent and daemon lie, die or lose something, and writes down what came of it.
//!
//! Not part of `cargo test`: it takes minutes, wants root for some of it, and uses the machine's limits up. The usual
//! call is `cargo test --test torture -- [--short] [--list] [SECTION …]`; the report is `target/torture-report.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a section may fail; the report says so")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]
#![allow(clippy::disallowed_methods, reason = "it waits for processes, and asks the real clock how long")]

mod clock;
mod faults;
mod fuzz;
mod leaks;
mod model;
mod release_build;
mod report;
mod resources;
mod soak;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests, which use more of it")]
mod support;
#[cfg(feature = "tls")]
mod tls;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use report::{Findings, Report};

/// How much of it: seconds for the gate, or minutes for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Short,
    Full,
}

impl Effort {
    /// One of two amounts.
    pub(crate) fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

/// One way to be unkind.
struct Section {
    /// What to call it on the command line.
    name: &'static str,
    /// What must hold whatever it does.
    promise: &'static str,
    run: fn(Effort, &mut Findings),
}

/// What makes this binary one of the programs.
const AS_AGENT: &str = "--as-agent";
const AS_DAEMON: &str = "--as-daemon";

/// All of them, in the order of the report.
const SECTIONS: &[Section] = &[
    Section {
        name: "faults-agent",
        promise: "whatever a system call says, the agent goes on or ends in order, names what is wrong, and recovers",
        run: faults::agent,
    },
    Section {
        name: "faults-daemon",
        promise: "whatever a system call says, the daemon goes on or ends in order, names what is wrong, and harms no agent",
        run: faults::daemon,
    },
    Section {
        name: "fuzz",
        promise: "no bytes, from a file or from a peer, cause a panic, a hang, or growth without bound",
        run: fuzz::run,
    },
    Section {
        name: "leaks",
        promise: "no byte out of bounds, no value never set, and no memory lost, over whole lives",
        run: leaks::run,
    },
    Section {
        name: "model",
        promise: "in no order of events is a dead agent overlooked, a healthy one restarted, or a second one believed",
        run: model::run,
    },
    Section {
        name: "soak",
        promise: "every heartbeat is accounted for, each agent is there once and comes back, and nobody says what is not so",
        run: soak::run,
    },
    #[cfg(feature = "tls")]
    Section {
        name: "tls",
        promise: "a handshake that is cut, never ends or is none costs nobody anything, and a renewal fails no request",
        run: tls::run,
    },
    Section {
        name: "resources",
        promise: "without descriptors, disk, memory or room one goes on or ends in order, says so, and is as before afterwards",
        run: resources::run,
    },
    Section {
        name: "clock",
        promise: "whatever the clocks do, there is no false verdict, no burst, and no negative age",
        run: clock::run,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        // The programs themselves, but with libc's allocator, which is the one that valgrind can look into.
        Some(flag) if flag == AS_AGENT => ops_agent::agent_main(std::iter::once("agent".into()).chain(arguments)),
        Some(flag) if flag == AS_DAEMON => ops_agent::daemon_main(std::iter::once("daemon".into()).chain(arguments)),
        Some(flag) if flag == faults::rotation::AS_ROTATION => {
            faults::rotation::main(std::path::Path::new(&arguments.next().unwrap_or_default()))
        }
        _ => torture(),
    }
}

fn torture() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let effort = if arguments.iter().any(|argument| argument == "--short") { Effort::Short } else { Effort::Full };
    let wanted: Vec<&str> = arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        SECTIONS.iter().for_each(|section| println!("{:12}{}", section.name, section.promise));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = wanted.iter().find(|name| SECTIONS.iter().all(|section| section.name != **name)) {
        eprintln!("there is no section `{unknown}`; --list shows them");
        return ExitCode::from(64);
    }
    let mut report = Report::new(effort);
    for section in SECTIONS.iter().filter(|section| wanted.is_empty() || wanted.contains(&section.name)) {
        println!("=== {}: {}", section.name, section.promise);
        let mut findings = Findings::default();
        let begun = Instant::now();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (section.run)(effort, &mut findings))) {
            findings.lost(format!("the section itself broke off: {}", words_of(panic.as_ref())));
        }
        report.add(section.name, section.promise, begun.elapsed(), findings);
    }
    report.finish()
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
}
