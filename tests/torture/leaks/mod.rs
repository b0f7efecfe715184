//! Workloads of agent and daemon under valgrind's memcheck, and the test suite under LeakSanitizer.
//!
//! Each workload runs twice, with few rounds and with more. The memory at exit must not depend on the number of rounds.

mod lsan;
mod memcheck;
mod workloads;

use crate::Effort;
use std::process::Command;

use crate::report::Findings;
use crate::support::find_program;

use memcheck::MemcheckResult;

/// The allowed difference of the memory at exit. One round allocates some hundred kilobytes.
const TOLERANCE_BYTES: u64 = 16 << 10;

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    miri(findings);
    findings.note(
        "ThreadSanitizer is not used: the standard library is not instrumented, so it would report false data races",
    );
    if effort == Effort::Full {
        lsan::run(findings);
    }
    if find_program("valgrind").is_none() {
        findings.skip("memcheck: valgrind is not installed");
        return;
    }
    let mut table = "| program | rounds | allocations | bytes allocated | reachable at exit | errors, leaks |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    for (name, workload) in
        [("agent", workloads::run_agent as fn(u32) -> MemcheckResult), ("daemon", workloads::run_daemon)]
    {
        let rounds = [1, effort.pick(2, 6)];
        let results = rounds.map(workload);
        for (rounds, result) in rounds.iter().zip(&results) {
            findings.tried(u64::from(*rounds), format!("rounds of the {name}'s workload under memcheck"));
            let MemcheckResult { errors, allocated: (times, bytes), reachable: (held, blocks), .. } = result;
            table.push_str(&format!(
                "| {name} | {rounds} | {times} | {bytes} | {held} bytes in {blocks} blocks | {errors} |\n"
            ));
            if result.code != Some(0) {
                findings.fail(format!("{name}: exit code {:?} after {rounds} rounds", result.code));
            }
            if *errors > 0 {
                findings.fail(format!("{name}: {errors} errors or leaks, the first: {}", result.first_finding()));
            }
        }
        let held = results.map(|result| result.reachable.0);
        if held[1] > held[0] + TOLERANCE_BYTES {
            findings
                .fail(format!("the {name} holds {} bytes after {} rounds, {} after one", held[1], rounds[1], held[0]));
        }
    }
    findings.table(table);
}

/// Runs the tests of `statemachine` under Miri, which detects undefined behaviour, if the toolchain has it.
fn miri(findings: &mut Findings) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).arg("miri");
    if !cargo.arg("--version").output().is_ok_and(|output| output.status.success()) {
        findings.skip(
            "Miri for `statemachine`: the toolchain has no Miri. The crate forbids `unsafe`. Of its dependencies, strum has no \
             `unsafe`; serde_core uses it twice, to format IP addresses, which `statemachine` does not do",
        );
        return;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["miri", "test", "--locked", "--package", "statemachine"]);
    cargo.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
    let output = cargo.output().unwrap();
    findings.tried(1, "runs of the tests of `statemachine` under Miri");
    if !output.status.success() {
        findings.fail(format!("Miri: {}", String::from_utf8_lossy(&output.stderr)));
    }
}
