//! `target/torture-report.md`: what was tried and how often, observations, failures, and what was skipped.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::Effort;

/// The results of one section.
#[derive(Default)]
pub(crate) struct Findings {
    tried: Vec<(u64, String)>,
    notes: Vec<String>,
    failures: Vec<String>,
    skipped: Vec<String>,
    tables: Vec<String>,
}

impl Findings {
    /// Counts how many times something was tried.
    pub(crate) fn tried(&mut self, times: u64, what: impl Into<String>) {
        self.tried.push((times, what.into()));
    }

    /// Adds an observation that is not a failure.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    /// Adds a violated guarantee. One is enough to fail the run.
    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        println!("    failed: {what}");
        self.failures.push(what);
    }

    /// Adds something that this machine does not allow, with the reason.
    pub(crate) fn skip(&mut self, what_and_why: impl Into<String>) {
        let what_and_why = what_and_why.into();
        println!("    skipped: {what_and_why}");
        self.skipped.push(what_and_why);
    }

    /// Adds Markdown, which the report contains unchanged.
    pub(crate) fn table(&mut self, markdown: impl Into<String>) {
        self.tables.push(markdown.into());
    }
}

/// All sections so far. The file is rewritten after each section, so an interrupted run leaves the results so far.
pub(crate) struct Report {
    effort: Effort,
    summary: String,
    details: String,
    failures: usize,
}

impl Report {
    pub(crate) fn new(effort: Effort) -> Self {
        Self { effort, summary: String::new(), details: String::new(), failures: 0 }
    }

    /// Adds the results of a section.
    pub(crate) fn add(&mut self, name: &str, guarantee: &str, took: Duration, findings: Findings) {
        let times: u64 = findings.tried.iter().map(|(times, _)| times).sum();
        let (failures, skipped) = (findings.failures.len(), findings.skipped.len());
        let seconds = took.as_secs_f64();
        let _ = writeln!(
            self.summary,
            "| [{name}](#{name}) | {guarantee} | {times} | {failures} | {skipped} | {seconds:.1} s |"
        );
        let _ = write!(self.details, "\n## {name}\n\n{guarantee}.\n");
        let tried: Vec<_> = findings.tried.iter().map(|(times, what)| format!("{times} × {what}")).collect();
        self.list("Tried", &tried);
        self.list("Observed", &findings.notes);
        self.list("Failed", &findings.failures);
        self.list("Skipped on this machine", &findings.skipped);
        for table in &findings.tables {
            let _ = write!(self.details, "\n{}\n", table.trim_end());
        }
        self.failures += failures;
        println!("    {times} tried, {failures} failed, {seconds:.1} s");
        self.write();
    }

    /// Prints the path of the report. The exit code is not 0 if anything failed.
    pub(crate) fn finish(self) -> ExitCode {
        self.write();
        println!("{}: {} failed", path().display(), self.failures);
        if self.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
            "# Torture\n\nThe results of the last run of `make torture` ({form}).\n\n\
             | section | what must hold | tried | failed | skipped | time |\n|---|---|---|---|---|---|\n{}{}",
            self.summary, self.details
        );
        if let Err(error) = std::fs::write(path(), text) {
            eprintln!("the report {} cannot be written: {error}", path().display());
        }
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("torture-report.md")
}
