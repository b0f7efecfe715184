//! Programs that are no agents, such as hooks: prepared, limited in time and output, and ended with all that they start.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ops_agent::testing::daemon::processes::program::{Ended, MAX_OUTPUT, Program, run};
use ops_config::daemon::ProcessAttributes;
use smol::block_on;
use statemachine::supervision::Exit;

use super::temp_dir;
use crate::support::agent::wait_until;
use crate::support::daemon::is_there;

/// Longer than any program here needs.
const AMPLE: Duration = Duration::from_secs(60);

fn program(work_dir: &Path, binary: &str, args: &[&str]) -> Program {
    Program {
        binary: binary.into(),
        args: args.iter().map(Into::into).collect(),
        work_dir: work_dir.to_owned(),
        environment: vec!["PATH=/usr/bin:/bin".into(), "A=b c".into()],
        input: "one line\n".into(),
        open_files: None,
        attributes: ProcessAttributes::default(),
        launcher: env!("CARGO_BIN_EXE_daemon").into(),
    }
}

fn shell(work_dir: &Path, script: &str, limit: Duration) -> (Ended, String) {
    let (ended, output) = block_on(run(program(work_dir, "/bin/sh", &["-c", script]), limit));
    (ended, String::from_utf8(output).unwrap())
}

#[test]
fn a_program_gets_its_input_and_its_environment_and_nothing_of_the_daemon() {
    let work_dir = temp_dir();
    let script = "cat; pwd; /usr/bin/env; ls /proc/self/fd; grep SigBlk /proc/self/status; echo error >&2; exit 3";
    let (ended, output) = shell(work_dir.path(), script, AMPLE);
    assert_eq!(ended, Ended::Exited(Exit::Code(3)));
    let here = fs::canonicalize(work_dir.path()).unwrap();
    let mut lines: Vec<&str> = output.lines().collect();
    let last = lines.split_off(lines.len() - 6);
    assert_eq!(lines[..2], ["one line", here.to_str().unwrap()]);
    // `ls` has opened the directory.
    assert_eq!(last, ["0", "1", "2", "3", "SigBlk:\t0000000000000000", "error"]);
    assert!(lines.contains(&"A=b c") && !output.contains("SECRET"), "{output}");
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_its_group() {
    let work_dir = temp_dir();
    let script = "trap '' TERM; (trap '' TERM; exec sleep 3600) & echo $!; wait";
    let (ended, output) = shell(work_dir.path(), script, Duration::from_secs(1));
    assert_eq!(ended, Ended::TimedOut(Duration::from_secs(1)));
    let helper: u32 = output.trim().parse().unwrap();
    wait_until("its helper is gone", || !is_there(helper));
}

#[test]
fn what_a_program_leaves_behind_does_not_delay_its_end_and_is_killed() {
    let work_dir = temp_dir();
    let (ended, output) = shell(work_dir.path(), "sleep 3600 & echo $!", AMPLE);
    assert_eq!(ended, Ended::Exited(Exit::Code(0)));
    let helper: u32 = output.trim().parse().unwrap();
    wait_until("its helper is gone", || !is_there(helper));
}

#[test]
fn a_flood_of_output_is_cut() {
    let work_dir = temp_dir();
    let (ended, output) = block_on(run(program(work_dir.path(), "/usr/bin/yes", &[]), AMPLE));
    assert_eq!((ended, output.len()), (Ended::Exited(Exit::Signal(13)), MAX_OUTPUT));
}

#[test]
fn a_program_that_cannot_be_started_is_explained() {
    let work_dir = temp_dir();
    let refused = |binary: &str| match block_on(run(program(work_dir.path(), binary, &[]), AMPLE)) {
        (Ended::NotStarted(why), output) if output.is_empty() => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("/nowhere/hook"), "/nowhere/hook does not exist: install it, or correct the path");
    fs::write(work_dir.path().join("plain"), "").unwrap();
    assert!(refused(work_dir.path().join("plain").to_str().unwrap()).contains("chmod +x"));
    assert_eq!(refused("/dev"), "/dev cannot be executed: let its user execute it (chmod +x)");
}

#[test]
fn a_program_is_ended_if_its_caller_gives_up() {
    let work_dir = temp_dir();
    let pid = work_dir.path().join("pid");
    let script = format!("echo $$ > {0}.new && mv {0}.new {0}; exec sleep 3600", pid.display());
    let running = async { Some(run(program(work_dir.path(), "/bin/sh", &["-c", &script]), AMPLE).await) };
    let written = async {
        while !pid.exists() {
            async_io::Timer::after(Duration::from_millis(10)).await;
        }
        None
    };
    assert_eq!(block_on(futures_lite::future::or(running, written)), None, "it has not ended");
    let pid: u32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    wait_until("it is gone", || !is_there(pid));
}
