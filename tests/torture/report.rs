//! `target/torture-report.md`: what was tried, how often, what was seen, and what was lost.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::Effort;

/// What one section has to say.
#[derive(Default)]
pub(crate) struct Findings {
    tried: Vec<(u64, String)>,
    seen: Vec<String>,
    lost: Vec<String>,
    could_not: Vec<String>,
    tables: Vec<String>,
}

impl Findings {
    /// So many times this was tried.
    pub(crate) fn tried(&mut self, times: u64, what: impl Into<String>) {
        self.tried.push((times, what.into()));
    }

    /// Something worth knowing that is as it should be.
    pub(crate) fn saw(&mut self, what: impl Into<String>) {
        self.seen.push(what.into());
    }

    /// A promise that was not kept. One is enough to fail the run.
    pub(crate) fn lost(&mut self, what: impl Into<String>) {
        let what = what.into();
        println!("    lost: {what}");
        self.lost.push(what);
    }

    /// Something that this machine does not allow, and why.
    pub(crate) fn could_not(&mut self, what_and_why: impl Into<String>) {
        let what_and_why = what_and_why.into();
        println!("    could not: {what_and_why}");
        self.could_not.push(what_and_why);
    }

    /// A table or figure in Markdown, put into the report as it is.
    pub(crate) fn table(&mut self, markdown: impl Into<String>) {
        self.tables.push(markdown.into());
    }
}

/// All sections so far. Written anew after each, so that a run that is cut short leaves what it has.
pub(crate) struct Report {
    effort: Effort,
    summary: String,
    details: String,
    lost: usize,
}

impl Report {
    pub(crate) fn new(effort: Effort) -> Self {
        Self { effort, summary: String::new(), details: String::new(), lost: 0 }
    }

    /// Takes in what a section has found.
    pub(crate) fn add(&mut self, name: &str, promise: &str, took: Duration, findings: Findings) {
        let times: u64 = findings.tried.iter().map(|(times, _)| times).sum();
        let lost = if findings.lost.is_empty() { "nothing".to_owned() } else { findings.lost.len().to_string() };
        let not_possible = findings.could_not.len();
        let seconds = took.as_secs_f64();
        let _ = writeln!(
            self.summary,
            "| [{name}](#{name}) | {promise} | {times} | {lost} | {not_possible} | {seconds:.1} s |"
        );
        let _ = write!(self.details, "\n## {name}\n\n{promise}.\n");
        let tried: Vec<_> = findings.tried.iter().map(|(times, what)| format!("{times} × {what}")).collect();
        self.list("Tried", &tried);
        self.list("Seen", &findings.seen);
        self.list("Lost", &findings.lost);
        self.list("Not possible on this machine", &findings.could_not);
        for table in &findings.tables {
            let _ = write!(self.details, "\n{}\n", table.trim_end());
        }
        self.lost += findings.lost.len();
        println!("    {times} tried, lost: {lost}, {seconds:.1} s");
        self.write();
    }

    /// Says where the report is; fails if anything was lost.
    pub(crate) fn finish(self) -> ExitCode {
        self.write();
        println!(
            "{}: {} lost",
            path().display(),
            if self.lost == 0 { "nothing".to_owned() } else { self.lost.to_string() }
        );
        if self.lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn list(&mut self, title: &str, items: &[String]) {
        if items.is_empty() {
            return;
        }
        let _ = write!(self.details, "\n{title}:\n\n");
        for item in items {
            let _ = writeln!(self.details, "- {}", item.replace('\n', " "));
        }
    }

    fn write(&self) {
        let form = self.effort.pick("the short form", "the full form");
        let text = format!(
            "# Torture\n\nWhat `make torture` tried when it was last run ({form}), and what was lost.\n\n\
             | section | what must hold | tried | lost | not possible | time |\n|---|---|---|---|---|---|\n{}{}",
            self.summary, self.details
        );
        if let Err(error) = std::fs::write(path(), text) {
            eprintln!("no report at {}: {error}", path().display());
        }
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("torture-report.md")
}
