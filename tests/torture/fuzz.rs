//! Fuzzing: each target of `fuzz/` for a limited time, starting from its corpus. docs/FUZZING.md lists the targets.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;

use crate::Effort;
use crate::report::Findings;

/// How long each target runs if `FUZZ_SECONDS` is not set.
const SECONDS: u64 = 30;

/// How many targets run in parallel.
const PARALLEL: usize = 2;

/// Time limit for one input, in seconds. The slowest inputs of the corpora take 1 s with all checks, on an idle
/// machine.
const INPUT_SECONDS: u64 = 25;

/// Memory limit in MiB. The address sanitizer's quarantine of freed memory takes up to 256 of it.
const RSS_MB: u64 = 1024;

/// Both forms run for the same time. The short form gates a change: it uses a fixed seed, so that its result does not
/// vary. Seed 0 makes libFuzzer choose a new one. The short form reports a finding without failing, because a finding
/// is rarely due to the change at hand. The input belongs into the corpus, which the tests replay.
pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let seed = effort.pick(1, 0);
    if let Err(why) = check_installed() {
        return findings.skip(format!("fuzzing: {why}: run `cargo install cargo-fuzz --locked`"));
    }
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let built = cargo_fuzz(&["build"]);
    if !built.status.success() {
        return findings.fail(format!("the fuzz targets do not build: {}", last_lines(&built)));
    }
    let targets = targets();
    let queue = Mutex::new(targets.iter().cloned().collect::<VecDeque<_>>());
    let runs = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some(target) = next(&queue) {
                    let run = fuzz(&target, seconds, seed);
                    runs.lock().expect("no holder panics").push((target, run));
                }
            });
        }
    });
    let mut runs = runs.into_inner().expect("no holder panics");
    runs.sort_by(|(one, _), (other, _)| one.cmp(other));
    report(&runs, seconds, effort, findings);
}

fn next(queue: &Mutex<VecDeque<String>>) -> Option<String> {
    queue.lock().expect("no holder panics").pop_front()
}

fn check_installed() -> Result<(), String> {
    let version = Command::new(env!("CARGO")).args(["fuzz", "--version"]).stderr(Stdio::null()).output();
    match version {
        Ok(output) if output.status.success() => Ok(()),
        Ok(_) => Err("cargo-fuzz is not installed".to_owned()),
        Err(error) => Err(format!("cargo does not start: {error}")),
    }
}

/// The targets: each has a corpus directory of its name.
fn targets() -> Vec<String> {
    let corpora = fs::read_dir(root().join("fuzz/corpus")).expect("the corpora");
    let mut names: Vec<String> =
        corpora.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

/// The result of one target.
struct Run {
    executions: u64,
    edges: u64,
    inputs: u64,
    rss_mb: u64,
    /// The failing input, if there is one.
    found: Option<String>,
}

fn fuzz(target: &str, seconds: u64, seed: u32) -> Run {
    // New inputs stay out of the committed corpus, whose inputs are selected by hand.
    let new_inputs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(target);
    fs::create_dir_all(&new_inputs).expect("a directory");
    let corpus = root().join("fuzz/corpus").join(target);
    let dictionary = root().join("fuzz/dictionaries").join(target).with_extension("dict");
    let output = cargo_fuzz(&[
        "run",
        target,
        &new_inputs.display().to_string(),
        &corpus.display().to_string(),
        "--",
        &format!("-max_total_time={seconds}"),
        &format!("-seed={seed}"),
        &format!("-timeout={INPUT_SECONDS}"),
        &format!("-rss_limit_mb={RSS_MB}"),
        &format!("-dict={}", dictionary.display()),
        "-print_final_stats=1",
    ]);
    let text = String::from_utf8_lossy(&output.stderr);
    let found = (!output.status.success()).then(|| {
        let what = ["panicked at", "ERROR:"].iter().find_map(|word| after(&text, word)).unwrap_or_default();
        let input = after(&text, "Test unit written to ").unwrap_or_default();
        format!("{target}: {what} … with the input {input}: `cargo fuzz run {target} {input}` reproduces it")
    });
    let last = text.lines().rev().find(|line| line.contains(" cov: ")).unwrap_or_default();
    let of_last = |name: &str| after(last, name).map(number).unwrap_or_default();
    let stat = |name: &str| after(&text, &format!("stat::{name}:")).map(number).unwrap_or_default();
    Run {
        executions: stat("number_of_executed_units"),
        edges: of_last(" cov: "),
        inputs: of_last(" corp: "),
        rss_mb: stat("peak_rss_mb"),
        found,
    }
}

fn report(runs: &[(String, Run)], seconds: u64, effort: Effort, findings: &mut Findings) {
    let mut table = format!(
        "| target, {seconds} s | executions | per second | edges covered | inputs kept | peak RSS, MiB |\n|---|---|---|---|---|---|\n"
    );
    for (target, run) in runs {
        let Run { executions, edges, inputs, rss_mb, found } = run;
        let _ = writeln!(
            table,
            "| {target} | {executions} | {} | {edges} | {inputs} | {rss_mb} |",
            executions / seconds.max(1)
        );
        match found {
            Some(found) if effort == Effort::Short => findings.note(format!("FOUND, must be fixed: {found}")),
            Some(found) => findings.fail(found.as_str()),
            None if *executions == 0 => findings.fail(format!("{target}: no input was run")),
            None => findings.tried(*executions, format!("inputs for {target}")),
        }
    }
    findings.table(table);
}

/// `RUSTC_BOOTSTRAP` allows the nightly features that instrumentation needs on a stable compiler.
fn cargo_fuzz(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.arg("fuzz").args(arguments).current_dir(root()).env("RUSTC_BOOTSTRAP", "1").stdin(Stdio::null());
    command.output().expect("cargo starts, as it did before")
}

fn last_lines(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// The rest of the line after the first occurrence of `words`.
fn after<'t>(text: &'t str, words: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(words)?;
    rest.lines().next().map(str::trim)
}

/// The number at the start of a text.
fn number(text: &str) -> u64 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().unwrap_or_default()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
