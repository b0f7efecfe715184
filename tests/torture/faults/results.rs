//! The results of the faults: a table of calls and errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The outcome of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The fault had no visible effect.
    NoEffect,
    /// The program reported the error under these names, and recovered.
    Reported(BTreeSet<String>),
    /// The program reported the error and exited cleanly during the start.
    FailedToStart,
    /// The scenario failed, but the injected error is impossible for the call that was hit. This does not count.
    Invalid,
    /// A guarantee was violated, with the details.
    Failed(String),
}

/// The outcome of a fault, and the trace of the call.
pub(super) type FaultResult = (Outcome, Vec<String>);

#[derive(Debug, Default)]
struct Cell {
    failed_calls: u64,
    no_effect: u64,
    reported: u64,
    failed_to_start: u64,
    invalid: u64,
    failed: u64,
    /// The names under which the error was reported.
    names: BTreeSet<String>,
}

/// All results so far.
#[derive(Debug, Default)]
pub(super) struct ResultTable {
    cells: BTreeMap<(String, &'static str), Cell>,
    failures: Vec<String>,
}

impl ResultTable {
    /// Adds the outcome of a fault that made `failed_calls` calls fail. Without such a call, only a failure counts.
    pub(super) fn add(&mut self, call: &str, errno: &'static str, failed_calls: usize, outcome: &Outcome) {
        let cell = self.cells.entry((call.to_owned(), errno)).or_default();
        cell.failed_calls += failed_calls as u64;
        match outcome {
            Outcome::Failed(how) => {
                cell.failed += 1;
                self.failures.push(how.clone());
            }
            _ if failed_calls == 0 => {}
            Outcome::NoEffect => cell.no_effect += 1,
            Outcome::Reported(names) => {
                cell.reported += 1;
                cell.names.extend(names.iter().cloned());
            }
            Outcome::FailedToStart => cell.failed_to_start += 1,
            Outcome::Invalid => cell.invalid += 1,
        }
    }

    /// The number of faults, and of calls that strace made fail.
    pub(super) fn totals(&self) -> (u64, u64) {
        let faults = |cell: &Cell| cell.no_effect + cell.reported + cell.failed_to_start + cell.invalid + cell.failed;
        self.cells.values().fold((0, 0), |(total, calls), cell| (total + faults(cell), calls + cell.failed_calls))
    }

    /// The details of all failures.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Whether this cell was tried.
    pub(super) fn contains(&self, call: &str, errno: &'static str) -> bool {
        self.cells.contains_key(&(call.to_owned(), errno))
    }

    /// The number of cells, the number of those with failed calls, and the names of the others.
    pub(super) fn coverage(&self) -> (usize, usize, Vec<String>) {
        let unused = self.cells.iter().filter(|(_, cell)| cell.failed_calls == 0);
        let unused: Vec<String> = unused.map(|((call, errno), _)| format!("{call} {errno}")).collect();
        (self.cells.len(), self.cells.len() - unused.len(), unused)
    }

    /// The table with one row for each call and one column for each error.
    pub(super) fn markdown(&self) -> String {
        let calls: BTreeSet<&str> = self.cells.keys().map(|(call, _)| call.as_str()).collect();
        let errnos: BTreeSet<&str> = self.cells.keys().map(|(_, errno)| *errno).collect();
        let mut text =
            "Each cell has the number of calls that failed, then the number of outcomes: no effect (n), reported and recovered \
             (r, with the names of the reports), clean exit during the start (e), not valid because the operation cannot fail with \
             this error (i), failed (F). `-`: tried, but no call failed.\n\n| call |"
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
        if self.failed_calls == 0 && self.failed == 0 {
            return "-".to_owned();
        }
        let parts = [
            ('n', self.no_effect),
            ('r', self.reported),
            ('e', self.failed_to_start),
            ('i', self.invalid),
            ('F', self.failed),
        ];
        let parts = parts.iter().filter(|(_, times)| *times > 0).map(|(letter, times)| format!(" {letter}{times}"));
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        format!("{}{}{names}", self.failed_calls, parts.collect::<String>())
    }
}
