//! The output of agents: the last lines of one run, and the rotation.

use std::fs;

use ops_agent::testing::daemon::processes::{LogState, MARKER, rotate, start, tail};
use ops_config::daemon::LogRotation;
use smol::block_on;
use statemachine::supervision::Exit;

use super::{Tree, shell, temp_dir};
use crate::support::agent::wait_until;

#[test]
fn the_last_output_is_of_this_run_and_without_control_characters() {
    let work_dir = temp_dir();
    let one = |script: &str| {
        let started = block_on(start(shell(work_dir.path(), script), |_, _| ())).unwrap();
        (block_on(started.main.exited()), started.log.length)
    };
    one("echo earlier");
    let (exit, output_from) = one(r"printf 'one\n\033[31mtwo\r\n\377three\tfour'; exit 78");
    assert_eq!(exit, Exit::Code(78));
    let words = |from, lines| block_on(tail(work_dir.path(), from, lines)).unwrap();
    assert_eq!(words(output_from, 10), ["one", "[31mtwo", "\u{fffd}three\tfour"]);
    assert_eq!(words(output_from, 1), ["\u{fffd}three\tfour"]);
    let all = words(0, 10);
    let marks = all.iter().map(|line| line.starts_with(MARKER)).collect::<Vec<_>>();
    assert_eq!(marks, [true, false, true, false, false, false], "each start is marked: {all:?}");
    assert_eq!(block_on(tail(&work_dir.path().join("nowhere"), 0, 10)).unwrap(), [""; 0]);
}

#[test]
fn a_log_is_rotated_while_the_process_writes_it() {
    let work_dir = temp_dir();
    let rotation = LogRotation { max_bytes: 100, copies: 2 };
    let state = || rotate(work_dir.path(), rotation).unwrap();
    let rotated = || matches!(state(), LogState::Rotated(_));
    assert_eq!(state(), LogState::Missing);
    // The script prints twenty lines of ten bytes each time that the file `go` is removed.
    let script = "n=100; while :; do i=0; while [ $i -lt 20 ]; do i=$((i+1)); n=$((n+1)); echo line::$n; done; \
                  : >go; while [ -e go ]; do sleep 0.01; done; done";
    let tree = Tree::start(&work_dir, script);
    let go = work_dir.path().join("go");
    let log = |suffix: &str| fs::read_to_string(work_dir.path().join(format!("logs/agent.log{suffix}"))).ok();
    for _ in 0..3 {
        wait_until("the lines are written", || go.exists());
        assert!(rotated());
        assert!(!rotated(), "once is enough");
        assert_eq!(log("").unwrap(), "");
        fs::remove_file(&go).unwrap();
    }
    wait_until("the lines are written", || go.exists());
    let lines = |from: u32| (from..from + 10).map(|n| format!("line::{n}\n")).collect::<String>();
    assert_eq!(log(".1").unwrap(), lines(151), "the end of what was too long");
    assert_eq!(log(".2").unwrap(), lines(131));
    assert_eq!(log(".3"), None);
    assert_eq!(log("").unwrap(), lines(161) + &lines(171), "from the beginning of the file, without a hole");
    let tail = block_on(tail(work_dir.path(), 0, 22)).unwrap();
    assert_eq!(tail[..3], ["line::159", "line::160", "line::161"], "across the rotation");
    tree.kill();
    tree.main_exited();
}

#[test]
fn what_a_rotation_does_not_keep_is_removed() {
    let work_dir = temp_dir();
    let logs = work_dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let names = || {
        let mut names: Vec<String> =
            fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let rotate_big = |copies| {
        fs::write(logs.join("agent.log"), "line\n".repeat(100)).unwrap();
        let rotated = rotate(work_dir.path(), LogRotation { max_bytes: 100, copies }).unwrap();
        assert!(matches!(rotated, LogState::Rotated(log) if log.length == 0), "{rotated:?}");
        names()
    };
    (0..3).for_each(|_| drop(rotate_big(3)));
    assert_eq!(names(), ["agent.log", "agent.log.1", "agent.log.2", "agent.log.3"]);
    assert_eq!(rotate_big(1), ["agent.log", "agent.log.1"]);
    assert_eq!(rotate_big(0), ["agent.log"]);
    assert_eq!(fs::read_to_string(logs.join("agent.log")).unwrap(), "");
}
