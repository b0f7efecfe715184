//! Fuzzing: each target of `fuzz/` for a while, on top of its corpus. docs/FUZZING.md tells what the targets are.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;

use crate::Effort;
use crate::report::Findings;

/// How long each target runs unless `FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 30;

/// How many run at once.
const AT_ONCE: usize = 2;

/// What one input may take, in seconds; the slowest of the corpora take one, with all the checks that are built in and the machine to themselves.
const INPUT_SECONDS: u64 = 25;

/// Of which the address sanitizer keeps up to 256 for memory that was given back.
const RSS_MB: u64 = 1024;

/// In either form the time is the same: it is the number of runs over the days that counts. The short one, which gates a change,
/// sets out the same way each time, so that it judges the change and not the dice; 0 is libFuzzer's word for a new way. And since
/// what is found is rarely of the change at hand, it tells of that and holds nothing up: the tests replay the corpora, and what was
/// found belongs there.
pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let seed = effort.pick(1, 0);
    if let Err(why) = is_there() {
        return findings.could_not(format!("fuzz anything: {why}; `cargo install cargo-fuzz --locked` installs it"));
    }
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let built = cargo_fuzz(&["build"]);
    if !built.status.success() {
        return findings.lost(format!("the targets cannot be built: {}", last_lines(&built)));
    }
    let targets = targets();
    let left = Mutex::new(targets.iter().cloned().collect::<VecDeque<_>>());
    let runs = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(target) = next(&left) {
                    let run = fuzz(&target, seconds, seed);
                    runs.lock().expect("nobody panics with it").push((target, run));
                }
            });
        }
    });
    let mut runs = runs.into_inner().expect("nobody panics with it");
    runs.sort_by(|(one, _), (other, _)| one.cmp(other));
    report(&runs, seconds, effort, findings);
}

fn next(left: &Mutex<VecDeque<String>>) -> Option<String> {
    left.lock().expect("nobody panics with it").pop_front()
}

fn is_there() -> Result<(), String> {
    let there = Command::new(env!("CARGO")).args(["fuzz", "--version"]).stderr(Stdio::null()).output();
    match there {
        Ok(output) if output.status.success() => Ok(()),
        Ok(_) => Err("cargo-fuzz is not installed".to_owned()),
        Err(error) => Err(format!("cargo cannot be run: {error}")),
    }
}

/// As the directories of the corpora name them.
fn targets() -> Vec<String> {
    let corpora = fs::read_dir(root().join("fuzz/corpus")).expect("the corpora");
    let mut names: Vec<String> =
        corpora.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

/// What a run of one target has come to.
struct Run {
    /// What libFuzzer counted.
    executions: u64,
    edges: u64,
    inputs: u64,
    rss_mb: u64,
    /// What it has found, if it has.
    found: Option<String>,
}

fn fuzz(target: &str, seconds: u64, seed: u32) -> Run {
    // New inputs stay out of the committed corpus: what is kept there is chosen.
    let grown = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(target);
    fs::create_dir_all(&grown).expect("a directory");
    let corpus = root().join("fuzz/corpus").join(target);
    let dictionary = root().join("fuzz/dictionaries").join(target).with_extension("dict");
    let output = cargo_fuzz(&[
        "run",
        target,
        &grown.display().to_string(),
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
        format!("{target}: {what} … with the input {input}: `cargo fuzz run {target} {input}` shows it again")
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
        "| target, {seconds} s | executions | a second | edges covered | inputs kept | peak RSS, MiB |\n|---|---|---|---|---|---|\n"
    );
    for (target, run) in runs {
        let Run { executions, edges, inputs, rss_mb, found } = run;
        let _ = writeln!(
            table,
            "| {target} | {executions} | {} | {edges} | {inputs} | {rss_mb} |",
            executions / seconds.max(1)
        );
        match found {
            Some(found) if effort == Effort::Short => findings.saw(format!("FOUND, to be mended: {found}")),
            Some(found) => findings.lost(found.as_str()),
            None if *executions == 0 => findings.lost(format!("{target}: not one input was run")),
            None => findings.tried(*executions, format!("an input for {target}")),
        }
    }
    findings.table(table);
}

/// With the nightly features that instrumentation needs, on whatever compiler there is.
fn cargo_fuzz(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.arg("fuzz").args(arguments).current_dir(root()).env("RUSTC_BOOTSTRAP", "1").stdin(Stdio::null());
    command.output().expect("cargo, which has just been run")
}

fn last_lines(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// The rest of the line behind the first of these words.
fn after<'t>(text: &'t str, words: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(words)?;
    rest.lines().next().map(str::trim)
}

/// The digits that a text begins with.
fn number(text: &str) -> u64 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().unwrap_or_default()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
