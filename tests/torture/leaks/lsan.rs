//! The tests, built with LeakSanitizer: each program that they start and that ends by itself with memory to which no pointer
//! is left ends with 23, where the tests expect 0 or something else that has a meaning.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::report::Findings;

/// What building and running may take together, on any machine.
const MOST: Duration = Duration::from_secs(30 * 60);

/// What the sanitizer is told by each program that has it.
const KNOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/leaks/known.c");

/// Who tells it in which function a leak is.
const SYMBOLIZER: &str = "/usr/bin/addr2line";

/// Tests that cannot be run so: their processes are traced by strace, and then the sanitizer cannot look.
const TRACED: [&str; 3] = [
    "status_file_crash::an_interrupted_system_call_is_retried_without_an_error",
    "status_file_crash::each_error_of_each_system_call_is_named_and_the_next_write_succeeds",
    "status_file_crash::the_file_is_on_disk_before_it_is_renamed_and_the_rename_before_it_is_acknowledged",
];

/// How the run ended, and what it said.
struct Outcome {
    status: Option<ExitStatus>,
    text: String,
}

pub(super) fn run(findings: &mut Findings) {
    let Outcome { status, text } = match tests() {
        Ok(outcome) => outcome,
        Err(error) => return findings.could_not(format!("run the tests with LeakSanitizer: {error}")),
    };
    let results: Vec<&str> = text.lines().filter(|line| line.starts_with("test result:")).collect();
    if results.is_empty() {
        let error = text.lines().find(|line| line.starts_with("error")).unwrap_or("no test has begun");
        return findings.could_not(format!("build the tests with LeakSanitizer: {error}"));
    }
    let passed = results.iter().filter_map(|line| before(line, " passed")).sum();
    findings.tried(passed, "test with LeakSanitizer in it and in the programs that it starts");
    for test in text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED")) {
        findings.lost(format!("LeakSanitizer: {test} fails"));
    }
    // What only points at itself is no direct leak.
    if let Some((_, leak)) = text.split_once("Direct leak of ") {
        let stack: Vec<_> = leak.lines().take(12).map(str::trim).collect();
        findings.lost(format!("LeakSanitizer: the tests leak {}", stack.join("; ")));
    }
    match status {
        None => findings.lost(format!("LeakSanitizer: the tests were not over after {} s", MOST.as_secs())),
        Some(status) if !status.success() => findings.lost(format!("LeakSanitizer: the tests end by {status}")),
        Some(_) => {}
    }
    let cycles: u64 = text
        .lines()
        .filter(|line| line.starts_with("SUMMARY: LeakSanitizer"))
        .filter_map(|line| before(line, " byte"))
        .sum();
    findings.saw(format!(
        "LeakSanitizer: {passed} tests pass. What a process holds that is ended by SIGKILL is not looked at. The tests' own \
         processes leave {cycles} bytes that only point at each other: executors that were dropped with a task that owns them"
    ));
    findings.saw(format!(
        "LeakSanitizer: left out are {}, whose processes are traced by strace, which the sanitizer cannot work under",
        TRACED.join(", ")
    ));
}

/// Builds and runs them. The programs get none of these variables, and so have the sanitizer's own exit code.
fn tests() -> std::io::Result<Outcome> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("leaks");
    fs::create_dir_all(&target)?;
    let said = target.join("tests.log");
    let log = File::create(&said)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    // libc's allocator is the one that the sanitizer replaces.
    cargo.args(["--no-default-features", "--features", "tls", "--target", &host()?, "--target-dir"]).arg(&target);
    cargo.arg("--");
    for test in TRACED {
        cargo.args(["--skip", test]);
    }
    // The option is an unstable one, and the runtime for it comes with each toolchain.
    let flags = format!("-Zsanitizer=leak -Clink-arg={}", known(&target)?);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags).env("LSAN_OPTIONS", "exitcode=0");
    // What is searched at random holds no memory that the first hundred would not show.
    cargo.env("SIMULATION_SEEDS", "100").env("PROPTEST_CASES", "32");
    let mut child = cargo.stdout(log.try_clone()?).stderr(log).process_group(0).spawn()?;
    let until = Instant::now() + MOST;
    let status = loop {
        match child.try_wait()? {
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(200)),
            ended => break ended,
        }
    };
    if status.is_none() {
        if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
    }
    Ok(Outcome { status, text: String::from_utf8_lossy(&fs::read(said)?).into_owned() })
}

/// What the sanitizer is told, as an object to be linked.
fn known(target: &Path) -> std::io::Result<String> {
    if !Path::new(SYMBOLIZER).exists() {
        return Err(std::io::Error::other(format!("{SYMBOLIZER} is not installed (binutils)")));
    }
    let object = target.join("known.o").display().to_string();
    let mut cc = Command::new("cc");
    cc.arg(format!("-DSYMBOLIZER=\"{SYMBOLIZER}\"")).args(["-c", KNOWN, "-o", &object]);
    if cc.status()?.success() { Ok(object) } else { Err(std::io::Error::other("cc does not compile known.c")) }
}

/// The machine for which the compiler builds by itself. Named, so that only what is for it gets the sanitizer, and not what
/// the compiler loads.
fn host() -> std::io::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| std::io::Error::other("rustc does not say its host"))
}

/// The number right before these words.
fn before(line: &str, words: &str) -> Option<u64> {
    let (before, _) = line.split_once(words)?;
    before.rsplit(' ').next()?.parse().ok()
}
