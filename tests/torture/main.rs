//! `make torture`: injects faults and load into agent and daemon, and checks the guarantees of each section.
//!
//! It is not part of `cargo test`: it takes minutes, needs root for some sections, and exhausts limits of the machine.
//! Usage: `cargo test --test torture -- [--short] [--list] [SECTION …]`. The report is `target/torture-report.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a section may fail; the report says so")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "progress is shown on the terminal")]
#![allow(clippy::disallowed_methods, reason = "it waits for real processes and measures real time")]

mod clock;
mod faults;
mod fuzz;
mod inheritance;
mod leaks;
mod model;
mod pid1;
mod process_list;
mod release_build;
mod report;
mod resources;
mod soak;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests, which use more of it")]
mod support;
mod tls;
mod trees;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use ops_agent::testing::daemon::processes::LAUNCHER;
use report::{Findings, Report};

/// How long a run takes: the short form is for the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Short,
    Full,
}

impl Effort {
    /// The amount for this form.
    pub(crate) fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

/// One group of tests.
struct Section {
    /// The name on the command line.
    name: &'static str,
    /// What must hold during and after the section.
    guarantee: &'static str,
    run: fn(Effort, &mut Findings),
}

/// Flags that make this binary run as one of the programs.
const AS_AGENT: &str = "--as-agent";
const AS_DAEMON: &str = "--as-daemon";

/// All sections, in the order of the report.
const SECTIONS: &[Section] = &[
    Section {
        name: "faults-agent",
        guarantee: "if any system call fails, the agent continues or exits cleanly, reports it, and recovers",
        run: faults::agent,
    },
    Section {
        name: "faults-daemon",
        guarantee: "if any system call fails, the daemon continues or exits cleanly, reports it, and disturbs no agent",
        run: faults::daemon,
    },
    Section {
        name: "faults-launcher",
        guarantee: "if any call of the launcher fails, the daemon reports the step, waits in backoff, and keeps nothing",
        run: faults::launcher::run,
    },
    Section {
        name: "faults-aside",
        guarantee: "if any call of the launcher of a hook or a check fails, the daemon reports it and supervises as before",
        run: faults::aside::run,
    },
    Section {
        name: "fuzz",
        guarantee: "no input from a file or a peer causes a panic, a hang, or unbounded growth",
        run: fuzz::run,
    },
    Section {
        name: "leaks",
        guarantee: "no access out of bounds, no uninitialised value and no leak from start to exit",
        run: leaks::run,
    },
    Section {
        name: "model",
        guarantee: "every order of events: dead agents are noticed, healthy ones never restarted, second processes refused",
        run: model::run,
    },
    Section {
        name: "soak",
        guarantee: "every heartbeat is accounted for, each agent has one process, and reported states are true",
        run: soak::run,
    },
    Section {
        name: "trees",
        guarantee: "nothing of a stopped agent is left, no agent runs twice, and no other process is signalled",
        run: trees::run,
    },
    Section {
        name: "inheritance",
        guarantee: "whatever the daemon inherits, every agent gets exactly what the launcher promises",
        run: inheritance::run,
    },
    Section {
        name: "pid1",
        guarantee: "as PID 1, daemon and agent reap every orphan, and their end cuts nothing short",
        run: pid1::run,
    },
    Section {
        name: "tls",
        guarantee: "a broken or unfinished handshake affects no other client, and a renewal fails no request",
        run: tls::run,
    },
    Section {
        name: "resources",
        guarantee: "without a resource, a program continues or exits cleanly, reports it, and recovers",
        run: resources::run,
    },
    Section {
        name: "clock",
        guarantee: "a clock change causes no false verdict, no burst and no negative age",
        run: clock::run,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        // The programs with libc's allocator, because valgrind can only check that one.
        Some(flag) if flag == AS_AGENT => ops_agent::agent_main(std::iter::once("agent".into()).chain(arguments)),
        Some(flag) if flag == AS_DAEMON => {
            // Under valgrind, `/proc/self/exe` is valgrind.
            let _ = LAUNCHER.set(support::programs::daemon().into());
            ops_agent::daemon_main(std::iter::once("daemon".into()).chain(arguments))
        }
        Some(flag) if flag == faults::launcher::AS_DAEMON => {
            let _ = LAUNCHER.set(arguments.next().unwrap_or_default().into());
            ops_agent::daemon_main(std::iter::once("daemon".into()).chain(arguments))
        }
        Some(flag) if flag == faults::rotation::AS_ROTATION => {
            faults::rotation::main(std::path::Path::new(&arguments.next().unwrap_or_default()))
        }
        _ => torture(),
    }
}

fn torture() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let effort = if arguments.iter().any(|argument| argument == "--short") { Effort::Short } else { Effort::Full };
    let selected: Vec<&str> = arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        SECTIONS.iter().for_each(|section| println!("{:16}{}", section.name, section.guarantee));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = selected.iter().find(|name| SECTIONS.iter().all(|section| section.name != **name)) {
        eprintln!("unknown section `{unknown}`: --list shows all sections");
        return ExitCode::from(64);
    }
    let mut report = Report::new(effort);
    for section in SECTIONS.iter().filter(|section| selected.is_empty() || selected.contains(&section.name)) {
        println!("=== {}: {}", section.name, section.guarantee);
        let mut findings = Findings::default();
        let started = Instant::now();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (section.run)(effort, &mut findings))) {
            findings.fail(format!("the section panicked: {}", panic_message(panic.as_ref())));
        }
        report.add(section.name, section.guarantee, started.elapsed(), findings);
    }
    report.finish()
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
