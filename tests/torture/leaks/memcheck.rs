//! A process under valgrind's memcheck, and what its log says at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::programs;

const SUPPRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/leaks/valgrind.supp");

/// Where memcheck is to write about one process.
pub(super) struct Memcheck {
    log: PathBuf,
}

/// What it wrote.
pub(super) struct Verdict {
    /// With what code the program ended.
    pub(super) code: Option<i32>,
    /// Reads and writes out of bounds, values never set, and memory to which no pointer is left.
    pub(super) errors: u64,
    /// What the program had allocated over its life: times, bytes.
    pub(super) allocated: (u64, u64),
    /// What it could still reach at the end: bytes, blocks.
    pub(super) reachable: (u64, u64),
    /// The log.
    pub(super) text: String,
}

impl Memcheck {
    pub(super) fn writing_to(directory: &Path, name: &str) -> Self {
        Self { log: directory.join(format!("{name}.memcheck")) }
    }

    /// The same command, in the same place, watched. What it starts is not.
    pub(super) fn around(&self, watched: &Command) -> Command {
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
            .arg(if watched.get_program() == programs::daemon() { crate::AS_DAEMON } else { crate::AS_AGENT })
            .args(watched.get_args())
            .env_clear()
            .stdin(Stdio::null());
        if let Some(directory) = watched.get_current_dir() {
            command.current_dir(directory);
        }
        command
    }

    /// Reads the log of a process that has ended, with this code.
    pub(super) fn verdict(&self, code: Option<i32>) -> Verdict {
        let text = fs::read_to_string(&self.log).unwrap();
        let numbers = |label: &str| {
            let line = text.lines().rev().find_map(|line| line.split_once(label));
            line.map(|(_, rest)| numbers_in(rest)).unwrap_or_default()
        };
        let [errors, ..] = numbers("ERROR SUMMARY:")[..] else { panic!("it did not come to a summary:\n{text}") };
        let pair = |numbers: &[u64], first: usize, second: usize| {
            (numbers.get(first).copied().unwrap_or_default(), numbers.get(second).copied().unwrap_or_default())
        };
        let allocated = pair(&numbers("total heap usage:"), 0, 2);
        let reachable = pair(&numbers("still reachable:"), 0, 1);
        Verdict { code, errors, allocated, reachable, text }
    }
}

impl Verdict {
    /// The first finding, as far as it is worth reading in a report.
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
