//! `target/e2e-report.md`: what each scenario expected, what was seen, and how long it took.
//!
//! Scenarios run in parallel threads or processes. Each writes its row to its own file, then joins all
//! rows under a lock.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

const HEAD: &str = "# End to end\n\n\
    What the scenarios of `tests/end_to_end` expected and saw when they were last run.\n\n\
    | scenario | expected | seen | time | |\n|---|---|---|---|---|\n";

/// One row of the report. It is written on drop, so a failing test writes it too.
pub(super) struct Scenario {
    name: &'static str,
    expected: &'static str,
    seen: Vec<String>,
    begun: Instant,
}

impl Scenario {
    pub(super) fn begin(name: &'static str, expected: &'static str) -> Self {
        Self { name, expected, seen: Vec::new(), begun: Instant::now() }
    }

    /// Adds an observation.
    pub(super) fn saw(&mut self, what: impl Into<String>) {
        self.seen.push(what.into());
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        let verdict = if std::thread::panicking() { "**failed**" } else { "as expected" };
        let cells = [self.name.to_owned(), self.expected.to_owned(), self.seen.join("; ")];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        let row = format!("| {} | {:.1} s | {verdict} |\n", cells.join(" | "), self.begun.elapsed().as_secs_f64());
        if let Err(error) = publish(self.name, &row) {
            eprintln!("no row in the report for {}: {error}", self.name);
        }
    }
}

fn publish(name: &str, row: &str) -> io::Result<()> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or(io::ErrorKind::NotFound)?;
    let rows = target.join("e2e-report");
    fs::create_dir_all(&rows)?;
    let lock = File::create(target.join("e2e-report.lock"))?;
    lock.lock()?;
    fs::write(rows.join(name), row)?;
    let text = rows_of_this_build(&rows)?.iter().map(fs::read_to_string).collect::<io::Result<String>>()?;
    let new = target.join("e2e-report.md.new");
    fs::write(&new, format!("{HEAD}{text}"))?;
    fs::rename(new, target.join("e2e-report.md"))
}

/// Removes rows that are older than the test binary, because their tests may no longer exist.
fn rows_of_this_build(rows: &Path) -> io::Result<Vec<PathBuf>> {
    let built = fs::metadata(std::env::current_exe()?)?.modified()?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(rows)? {
        let entry = entry?;
        if entry.metadata()?.modified()? < built {
            fs::remove_file(entry.path())?;
        } else {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
