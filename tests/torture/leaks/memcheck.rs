//! A process under valgrind's memcheck, and the result in memcheck's log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::programs;

const SUPPRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/leaks/valgrind.supp");

/// memcheck for one process.
pub(super) struct Memcheck {
    log: PathBuf,
}

/// The result of memcheck.
pub(super) struct MemcheckResult {
    /// The exit code of the program.
    pub(super) code: Option<i32>,
    /// Accesses out of bounds, uses of uninitialised values, and leaks.
    pub(super) errors: u64,
    /// All allocations of the program: count, bytes.
    pub(super) allocated: (u64, u64),
    /// Memory that is still reachable at exit: bytes, blocks.
    pub(super) reachable: (u64, u64),
    /// The whole log.
    pub(super) text: String,
}

impl Memcheck {
    pub(super) fn new(directory: &Path, name: &str) -> Self {
        Self { log: directory.join(format!("{name}.memcheck")) }
    }

    /// Runs the same command in the same directory under memcheck. Its child processes run without memcheck.
    pub(super) fn wrap(&self, program: &Command) -> Command {
        let mut command = Command::new("valgrind");
        command
            .args(["--leak-check=full", "--num-callers=30", "--child-silent-after-fork=yes"])
            .args([
                "--show-leak-kinds=definite,indirect,possible",
                "--errors-for-leak-kinds=definite,indirect,possible",
            ])
            .arg(format!("--suppressions={SUPPRESSIONS}"))
            .arg(format!("--log-file={}", self.log.display()))
            .arg(std::env::current_exe().expect("this binary"))
            .arg(if program.get_program() == programs::daemon() { crate::AS_DAEMON } else { crate::AS_AGENT })
            .args(program.get_args())
            .env_clear()
            .stdin(Stdio::null());
        if let Some(directory) = program.get_current_dir() {
            command.current_dir(directory);
        }
        command
    }

    /// Reads the log of a process that has exited with `code`.
    pub(super) fn result(&self, code: Option<i32>) -> MemcheckResult {
        let text = fs::read_to_string(&self.log).unwrap();
        let numbers = |label: &str| {
            let line = text.lines().rev().find_map(|line| line.split_once(label));
            line.map(|(_, rest)| numbers_in(rest)).unwrap_or_default()
        };
        let [errors, ..] = numbers("ERROR SUMMARY:")[..] else { panic!("the log of memcheck has no summary:\n{text}") };
        let pair = |numbers: &[u64], first: usize, second: usize| {
            (numbers.get(first).copied().unwrap_or_default(), numbers.get(second).copied().unwrap_or_default())
        };
        let allocated = pair(&numbers("total heap usage:"), 0, 2);
        let reachable = pair(&numbers("still reachable:"), 0, 1);
        MemcheckResult { code, errors, allocated, reachable, text }
    }
}

impl MemcheckResult {
    /// The first error or leak, shortened for the report.
    pub(super) fn first_finding(&self) -> String {
        let is_finding = |paragraph: &&str| paragraph.contains("\n==") && paragraph.contains("    at 0x");
        let paragraphs: Vec<_> = self.text.split("== \n").collect();
        let finding = paragraphs.iter().copied().find(is_finding).unwrap_or(&self.text);
        finding
            .lines()
            .take(16)
            .map(|line| line.rsplit("== ").next().unwrap_or(line).trim())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// The whole numbers of a line such as ` 95,774 bytes in 29 blocks`.
fn numbers_in(text: &str) -> Vec<u64> {
    let words = text.split(|character: char| !character.is_ascii_digit() && character != ',');
    words.filter_map(|word| word.replace(',', "").parse().ok()).collect()
}
