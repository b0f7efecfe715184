//! The rotation of an agent's log, with a fault in it. The daemon looks at the sizes every 15 s, longer than a life under
//! observation takes; so here it is a process of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use ops_agent::testing::daemon::processes::{Rotation, rotate};
use tempfile::TempDir;

use super::process::panic_in;
use super::results::{Class, Tally};
use super::strace::{self, Counts, Injection};
use super::table::ROWS;

/// What makes this binary the process that rotates.
pub(crate) const AS_ROTATION: &str = "--as-rotation";

/// The exit code for a log that is not there, or short enough.
const NOTHING_TO_ROTATE: u8 = 3;

/// So much is kept in one copy.
const KEPT: Rotation = Rotation { max_bytes: 1000, copies: 2 };

/// How much more an agent has said.
const SAID: usize = 3000;

/// Rotates the log in this work directory, and says what came of it.
pub(crate) fn main(work_dir: &Path) -> ExitCode {
    match smol::block_on(rotate(work_dir, KEPT)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOTHING_TO_ROTATE),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Every call of a rotation on its files, failed with everything that a disk may say, each time that it is made.
pub(super) fn add_to(tally: &mut Tally) {
    let counts = {
        let place = Place::new();
        place.rotated(None);
        Counts::of(&place.trace(), true)
    };
    for row in ROWS {
        let Some(count) = counts.0.get(row.call) else { continue };
        for errno in row.disk {
            for when in count.can_say(errno) {
                let (class, struck) = once(row.call, errno, when);
                tally.add(row.call, errno, struck, &class);
            }
        }
    }
}

fn once(call: &str, errno: &'static str, when: u64) -> (Class, usize) {
    let place = Place::new();
    let injection = Injection { call: call.to_owned(), errno, when: when.to_string(), paths: place.files() };
    let output = place.rotated(Some(&injection));
    let lines = strace::lines(&place.trace());
    let struck = strace::struck(&lines);
    let lost = |how: &str| Class::Lost(format!("rotation, {call} {errno} (number {when}): {how}; {struck:?}"));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let class = match output.status.code() {
        _ if panic_in(&words).is_some() => lost(&words),
        Some(0) if place.is_cut() => Class::RodeOut,
        Some(0) => lost("it says that it was done, and the log is as long as before"),
        // It was told that there is no log, which it has to believe.
        Some(code) if code == i32::from(NOTHING_TO_ROTATE) && errno == "ENOENT" => Class::RodeOut,
        Some(1) if struck.iter().any(|line| strace::reason(line).is_some_and(|reason| words.contains(reason))) => {
            Class::Named(BTreeSet::from(["rotation".to_owned()]))
        }
        _ => lost(&format!("it ended with {}: {words}", output.status)),
    };
    let class = if place.is_cut() && !place.has_kept() { lost("the log was cut, and is in no copy") } else { class };
    let again = place.rotated(None);
    let ended_well = matches!(again.status.code(), Some(code) if code == 0 || code == i32::from(NOTHING_TO_ROTATE));
    let class = if ended_well && place.is_cut() && place.has_kept() {
        class
    } else {
        lost(&format!("it does not come about afterwards: {}", String::from_utf8_lossy(&again.stderr)))
    };
    (class, struck.len())
}

/// A work directory whose log is too long.
struct Place {
    home: TempDir,
    said: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let home = TempDir::new().expect("a directory");
        let said: Vec<u8> = (0..SAID / 10).flat_map(|number| format!("line {number:04}\n").into_bytes()).collect();
        fs::create_dir(home.path().join("logs")).expect("a directory");
        let place = Self { home, said };
        fs::write(place.log(), &place.said).expect("a log");
        fs::write(&place.copies()[0], "older\n").expect("a copy");
        place
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("logs/agent.log")
    }

    fn trace(&self) -> PathBuf {
        self.home.path().join("trace")
    }

    fn files(&self) -> Vec<PathBuf> {
        let fresh = self.home.path().join("logs/.agent.log.new");
        [self.log(), fresh].into_iter().chain(self.copies()).collect()
    }

    fn copies(&self) -> [PathBuf; 2] {
        ["1", "2"].map(|number| self.log().with_extension(format!("log.{number}")))
    }

    fn rotated(&self, injection: Option<&Injection>) -> Output {
        let mut program = Command::new(std::env::current_exe().expect("this binary"));
        program.arg(AS_ROTATION).arg(self.home.path());
        let mut traced = strace::run(&self.trace(), injection, &self.files(), &program);
        let child = traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("strace");
        let pid = child.id();
        let output = child.wait_with_output().expect("its end");
        strace::settled(&self.trace(), pid);
        output
    }

    fn is_cut(&self) -> bool {
        fs::metadata(self.log()).is_ok_and(|log| log.len() == 0)
    }

    /// Whether the newest of what was said is in a copy.
    fn has_kept(&self) -> bool {
        let newest = &self.said[self.said.len() - 1000..];
        self.copies().iter().any(|copy| fs::read(copy).is_ok_and(|kept| kept.ends_with(newest)))
    }
}
