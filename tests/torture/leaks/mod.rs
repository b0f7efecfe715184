//! Whole lives of agent and daemon under valgrind's memcheck, and the tests with LeakSanitizer in them.
//!
//! Each life is led twice, with few rounds and with more: what it still holds at the end may not depend on how long it was.

mod lsan;
mod memcheck;
mod workloads;

use crate::Effort;
use std::process::Command;

use crate::report::Findings;
use crate::support::find_program;

use memcheck::Verdict;

/// More than this, and what a life holds at its end grows with its length. A round allocates some hundred kilobytes.
const NOISE_BYTES: u64 = 16 << 10;

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    miri(findings);
    findings.saw(
        "ThreadSanitizer is not tried: with a standard library that was not built for it, it takes what that does for races",
    );
    if effort == Effort::Full {
        lsan::run(findings);
    }
    if find_program("valgrind").is_none() {
        findings.could_not("memcheck: valgrind is not installed");
        return;
    }
    let mut table = "| life | rounds | allocations | bytes allocated | still held at the end | errors, leaks |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    for (name, life) in [("agent", workloads::agent as fn(u32) -> Verdict), ("daemon", workloads::daemon)] {
        let rounds = [1, effort.pick(2, 6)];
        let verdicts = rounds.map(life);
        for (rounds, verdict) in rounds.iter().zip(&verdicts) {
            findings.tried(u64::from(*rounds), format!("round of the {name}'s life under memcheck"));
            let Verdict { errors, allocated: (times, bytes), reachable: (held, blocks), .. } = verdict;
            table.push_str(&format!(
                "| {name} | {rounds} | {times} | {bytes} | {held} bytes in {blocks} blocks | {errors} |\n"
            ));
            if verdict.code != Some(0) {
                findings.lost(format!("{name}: a life of {rounds} rounds ends with {:?}", verdict.code));
            }
            if *errors > 0 {
                findings.lost(format!("{name}: {errors} errors or leaks, the first: {}", verdict.first_finding()));
            }
        }
        let held = verdicts.map(|verdict| verdict.reachable.0);
        if held[1] > held[0] + NOISE_BYTES {
            findings
                .lost(format!("the {name} holds {} bytes after {} rounds, {} after one", held[1], rounds[1], held[0]));
        }
    }
    findings.table(table);
}

/// The pure crate under the interpreter that sees undefined behaviour, where the toolchain has one.
fn miri(findings: &mut Findings) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).arg("miri");
    if !cargo.arg("--version").output().is_ok_and(|output| output.status.success()) {
        findings.could_not(
            "Miri for `statemachine`: this toolchain has none. The crate forbids `unsafe`. Of what it links, strum has none; \
             serde_core has two places, which make text of IP addresses and are never called from it",
        );
        return;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["miri", "test", "--locked", "--package", "statemachine"]);
    cargo.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
    let output = cargo.output().unwrap();
    findings.tried(1, "run of the tests of `statemachine` under Miri");
    if !output.status.success() {
        findings.lost(format!("Miri: {}", String::from_utf8_lossy(&output.stderr)));
    }
}
