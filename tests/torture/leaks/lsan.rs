//! The test suite, built with LeakSanitizer. A program that leaks exits with code 23, which no test expects.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::report::Findings;

/// Time limit for building and running.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The source of the settings that are linked into each program.
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/leaks/lsan_settings.c");

/// The tool that resolves addresses to function names.
const SYMBOLIZER: &str = "/usr/bin/addr2line";

/// Tests that are left out: strace traces their processes, and LeakSanitizer does not work under ptrace.
const TRACED: [&str; 3] = [
    "status_file_crash::an_interrupted_system_call_is_retried_without_an_error",
    "status_file_crash::each_error_of_each_system_call_is_named_and_the_next_write_succeeds",
    "status_file_crash::the_file_is_on_disk_before_it_is_renamed_and_the_rename_before_it_is_acknowledged",
];

/// The result of the test run.
struct TestRun {
    /// `None`: the time limit was exceeded.
    status: Option<ExitStatus>,
    text: String,
}

pub(super) fn run(findings: &mut Findings) {
    let TestRun { status, text } = match run_tests() {
        Ok(test_run) => test_run,
        Err(error) => return findings.skip(format!("LeakSanitizer: the tests do not run: {error}")),
    };
    let results: Vec<&str> = text.lines().filter(|line| line.starts_with("test result:")).collect();
    if results.is_empty() {
        let error = text.lines().find(|line| line.starts_with("error")).unwrap_or("no test started");
        return findings.skip(format!("LeakSanitizer: the tests do not build: {error}"));
    }
    let passed = results.iter().filter_map(|line| before(line, " passed")).sum();
    findings.tried(passed, "tests with LeakSanitizer, also in the programs that they start");
    for test in text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED")) {
        findings.fail(format!("LeakSanitizer: {test} fails"));
    }
    // A direct leak is one to which no other leaked block points.
    if let Some((_, leak)) = text.split_once("Direct leak of ") {
        let stack: Vec<_> = leak.lines().take(12).map(str::trim).collect();
        findings.fail(format!("LeakSanitizer: the tests leak {}", stack.join("; ")));
    }
    match status {
        None => findings.fail(format!("LeakSanitizer: the tests did not finish within {} s", LIMIT.as_secs())),
        Some(status) if !status.success() => findings.fail(format!("LeakSanitizer: the tests failed with {status}")),
        Some(_) => {}
    }
    let cycles: u64 = text
        .lines()
        .filter(|line| line.starts_with("SUMMARY: LeakSanitizer"))
        .filter_map(|line| before(line, " byte"))
        .sum();
    findings.note(format!(
        "LeakSanitizer: {passed} tests pass. Processes that end by SIGKILL are not checked. The test processes leak {cycles} bytes \
         in reference cycles: executors that were dropped together with a task that owns them"
    ));
    findings.note(format!("LeakSanitizer: left out are {}, because it does not work under strace", TRACED.join(", ")));
}

/// Builds and runs the tests. `LSAN_OPTIONS` does not reach the programs that the tests start, so a leak there gives
/// code 23.
fn run_tests() -> std::io::Result<TestRun> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("leaks");
    fs::create_dir_all(&target)?;
    let log_path = target.join("tests.log");
    let log = File::create(&log_path)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    // The sanitizer replaces libc's allocator only.
    cargo.args(["--no-default-features", "--features", "tls", "--target", &host()?, "--target-dir"]).arg(&target);
    cargo.arg("--");
    for test in TRACED {
        cargo.args(["--skip", test]);
    }
    // The option is unstable. Each toolchain contains the runtime for it.
    let flags = format!("-Zsanitizer=leak -Clink-arg={}", compile_settings(&target)?);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags).env("LSAN_OPTIONS", "exitcode=0");
    // Fewer random cases: more of them take no other path that allocates.
    cargo.env("SIMULATION_SEEDS", "100").env("PROPTEST_CASES", "32");
    let mut child = cargo.stdout(log.try_clone()?).stderr(log).process_group(0).spawn()?;
    let until = Instant::now() + LIMIT;
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
    Ok(TestRun { status, text: String::from_utf8_lossy(&fs::read(log_path)?).into_owned() })
}

/// Compiles the settings to an object file.
fn compile_settings(target: &Path) -> std::io::Result<String> {
    if !Path::new(SYMBOLIZER).exists() {
        return Err(std::io::Error::other(format!("{SYMBOLIZER} is not installed (binutils)")));
    }
    let object = target.join("lsan_settings.o").display().to_string();
    let mut cc = Command::new("cc");
    cc.arg(format!("-DSYMBOLIZER=\"{SYMBOLIZER}\"")).args(["-c", SETTINGS, "-o", &object]);
    if cc.status()?.success() { Ok(object) } else { Err(std::io::Error::other("cc cannot compile lsan_settings.c")) }
}

/// The host triple. With an explicit target, cargo does not build procedural macros and build scripts with the
/// sanitizer.
fn host() -> std::io::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| std::io::Error::other("`rustc -vV` prints no host"))
}

/// The number directly before `words`.
fn before(line: &str, words: &str) -> Option<u64> {
    let (before, _) = line.split_once(words)?;
    before.rsplit(' ').next()?.parse().ok()
}
