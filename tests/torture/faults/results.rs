//! What came of the faults: a table of calls and errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What a program made of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    /// Nobody outside could tell.
    RodeOut,
    /// It said what was wrong, as these faults or by these voices, and was well again once that was over.
    Named(BTreeSet<String>),
    /// It said why it could not start or go on, and ended in order.
    Ended,
    /// It suffered, but what was hit is an operation that cannot fail so: nothing is said about it.
    Missed,
    /// A promise was broken: how.
    Lost(String),
}

#[derive(Debug, Default)]
struct Cell {
    struck: u64,
    rode_out: u64,
    named: u64,
    ended: u64,
    missed: u64,
    lost: u64,
    /// As what it was named.
    names: BTreeSet<String>,
}

/// All cells so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    cells: BTreeMap<(String, &'static str), Cell>,
    lost: Vec<String>,
}

impl Tally {
    /// Adds what came of a fault that struck so many times. One that never struck counts for nothing.
    pub(super) fn add(&mut self, call: &str, errno: &'static str, struck: usize, class: &Class) {
        let cell = self.cells.entry((call.to_owned(), errno)).or_default();
        cell.struck += struck as u64;
        match class {
            Class::Lost(how) => {
                cell.lost += 1;
                self.lost.push(how.clone());
            }
            _ if struck == 0 => {}
            Class::RodeOut => cell.rode_out += 1,
            Class::Named(names) => {
                cell.named += 1;
                cell.names.extend(names.iter().cloned());
            }
            Class::Ended => cell.ended += 1,
            Class::Missed => cell.missed += 1,
        }
    }

    /// How many faults struck, and how often strace made a call fail for them.
    pub(super) fn sums(&self) -> (u64, u64) {
        let lives = |cell: &Cell| cell.rode_out + cell.named + cell.ended + cell.missed + cell.lost;
        self.cells.values().fold((0, 0), |(faults, struck), cell| (faults + lives(cell), struck + cell.struck))
    }

    /// The promises that were broken.
    pub(super) fn lost(&self) -> &[String] {
        &self.lost
    }

    /// Whether this cell was tried.
    pub(super) fn knows(&self, call: &str, errno: &'static str) -> bool {
        self.cells.contains_key(&(call.to_owned(), errno))
    }

    /// How many cells were tried, how many of these were struck, and the others by name.
    pub(super) fn coverage(&self) -> (usize, usize, Vec<String>) {
        let missed = self.cells.iter().filter(|(_, cell)| cell.struck == 0);
        let missed: Vec<String> = missed.map(|((call, errno), _)| format!("{call} {errno}")).collect();
        (self.cells.len(), self.cells.len() - missed.len(), missed)
    }

    /// Calls down, errors across.
    pub(super) fn markdown(&self) -> String {
        let calls: BTreeSet<&str> = self.cells.keys().map(|(call, _)| call.as_str()).collect();
        let errnos: BTreeSet<&str> = self.cells.keys().map(|(_, errno)| *errno).collect();
        let mut text =
            "Each cell: how often the call was made to fail, then how many times that was ridden out (r), named by the \
                        system's words and recovered from (f, and as which faults or by which voices), the reason of an orderly end at the start (e), hit an operation \
                        of the call that cannot fail so (m), or a loss (L). `-`: tried, \
                        but the call was not made there.\n\n| call |"
                .to_owned();
        text.extend(errnos.iter().map(|errno| format!(" {errno} |")));
        text.push_str("\n|---|");
        text.extend(errnos.iter().map(|_| "---|"));
        for call in calls {
            let _ = write!(text, "\n| {call} |");
            for errno in &errnos {
                let cell = self.cells.iter().find(|((c, e), _)| (c.as_str(), e) == (call, errno)).map(|(_, cell)| cell);
                let _ = write!(text, " {} |", cell.map(Cell::text).unwrap_or_default());
            }
        }
        text
    }
}

impl Cell {
    fn text(&self) -> String {
        if self.struck == 0 && self.lost == 0 {
            return "-".to_owned();
        }
        let parts = [('r', self.rode_out), ('f', self.named), ('e', self.ended), ('m', self.missed), ('L', self.lost)];
        let parts = parts.iter().filter(|(_, times)| *times > 0).map(|(letter, times)| format!(" {letter}{times}"));
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        format!("{}{}{names}", self.struck, parts.collect::<String>())
    }
}
