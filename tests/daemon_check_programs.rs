//! The programs of checks: judged by exit code and time, ended whole, and part of no tree.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use futures_lite::FutureExt as _;
use ops_agent::testing::daemon::checks::ExecCheckResult;
use ops_agent::testing::daemon::processes::{CheckCommand, CheckEnd, CheckRuns, StartError, Trees};
use ops_config::daemon::ProcessSettings;
use smol::block_on;
use statemachine::supervision::Exit;

use crate::support::agent::wait_until;
use crate::support::daemon::is_there;

/// Never over in a test whose program ends.
const LONG: Duration = Duration::from_secs(600);

fn command(directory: &Path, binary: &str, args: &[&str]) -> CheckCommand {
    CheckCommand {
        binary: binary.into(),
        args: args.iter().map(Into::into).collect(),
        work_dir: directory.to_owned(),
        environment: vec!["PATH=/usr/bin:/bin".into(), "GIVEN=yes".into()],
        open_files: None,
        settings: ProcessSettings::default(),
        launcher: env!("CARGO_BIN_EXE_daemon").into(),
    }
}

fn shell(directory: &Path, script: &str) -> CheckCommand {
    command(directory, "/bin/sh", &["-c", script])
}

/// The end of a run and what it wrote.
fn run(command: CheckCommand, timeout: Duration) -> (CheckEnd, String) {
    let (end, output) = block_on(CheckRuns::default().run(&Trees::default(), "a", command, timeout));
    (end, String::from_utf8(output).unwrap())
}

/// The pid that a script wrote to this file.
fn pid_in(directory: &Path, name: &str) -> u32 {
    let read = || fs::read_to_string(directory.join(name)).ok()?.trim().parse().ok();
    wait_until("the pid is written", || read().is_some());
    read().unwrap()
}

#[test]
fn a_program_has_its_exit_code_its_output_and_the_environment_of_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    let script = "pwd; env | sort | grep -v -e ^PWD= -e ^SHLVL= -e ^_=; cat; echo to stderr >&2; exit 3";
    let (end, output) = run(shell(directory.path(), script), LONG);
    assert!(matches!(end, CheckEnd::Ended(Exit::Code(3))), "{end:?}");
    let here = directory.path().canonicalize().unwrap();
    assert_eq!(output, format!("{}\nGIVEN=yes\nPATH=/usr/bin:/bin\nto stderr\n", here.display()));
    let (end, _) = run(shell(directory.path(), "kill -ABRT $$"), LONG);
    assert!(matches!(end, CheckEnd::Ended(Exit::Signal(6))), "{end:?}");
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    // One in the session of the check, one in its own, and one whose parent has ended.
    let script = "sleep 1000 & echo $! >near; setsid sh -c 'echo $$ >far; exec sleep 1000' & \
                  (setsid sh -c 'trap \"\" TERM; sleep 1000 & echo $! >orphan' &); echo begun; exec sleep 1000";
    let runs = CheckRuns::default();
    let trees = Trees::default();
    // The time is over as soon as everything runs, however long that takes.
    let all_run = || {
        ["near", "far", "orphan"]
            .iter()
            .all(|name| fs::read(directory.path().join(name)).is_ok_and(|pid| pid.ends_with(b"\n")))
    };
    let mut timeout = Duration::from_millis(200);
    let (end, output) = loop {
        let (end, output) = block_on(runs.run(&trees, "a", shell(directory.path(), script), timeout));
        if all_run() {
            break (end, output);
        }
        timeout *= 2;
    };
    assert!(matches!(end, CheckEnd::TimedOut), "{end:?}");
    assert_eq!(output, b"begun\n");
    for name in ["near", "far", "orphan"] {
        assert!(!is_there(pid_in(directory.path(), name)), "{name} is killed before the check ends");
    }
    let judged = ExecCheckResult::of(&end, &output, timeout);
    assert!(matches!(judged, ExecCheckResult::Failed(why) if why.starts_with("does not end within")));
}

#[test]
fn what_a_program_leaves_when_it_ends_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let script = "setsid sleep 1000 & echo $! >left; echo fine";
    let (end, output) = run(shell(directory.path(), script), LONG);
    assert!(matches!(end, CheckEnd::Ended(Exit::Code(0))), "{end:?}");
    assert_eq!(output, "fine\n");
    assert!(!is_there(pid_in(directory.path(), "left")));
}

#[test]
fn output_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let (end, output) = run(command(directory.path(), "/usr/bin/env", &["yes"]), LONG);
    assert!(matches!(end, CheckEnd::WroteTooMuch), "{end:?}");
    assert_eq!(output.len(), 4096);
    let (end, output) = run(shell(directory.path(), "head -c 1000000 /dev/zero | tr '\\0' x; exit 2"), LONG);
    assert!(matches!(end, CheckEnd::Ended(Exit::Code(2))), "a long output does not stop the program: {end:?}");
    assert_eq!(output.len(), 4096);
}

#[test]
fn a_program_that_cannot_be_started_is_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    fs::write(&script, "#!/absent/interpreter\n").unwrap();
    let why = |command| {
        let (end, output) = run(command, LONG);
        let judged = ExecCheckResult::of(&end, output.as_bytes(), LONG);
        let ExecCheckResult::NotTried(why) = judged else { panic!("{judged:?}") };
        why
    };
    let missing = why(command(directory.path(), "/absent/check", &[]));
    assert_eq!(missing, "/absent/check does not exist: install it, or correct `exec`");
    let closed = why(command(directory.path(), script.to_str().unwrap(), &[]));
    assert!(closed.contains("cannot be executed"), "{closed}");
    let absent = directory.path().join("absent");
    let (end, _) = run(command(&absent, "/bin/true", &[]), LONG);
    assert!(matches!(end, CheckEnd::NotStarted(StartError::WorkDir(..))), "{end:?}");
}

#[test]
fn a_run_that_is_given_up_ends_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let (runs, trees) = (CheckRuns::default(), Trees::default());
    let script = "setsid sleep 1000 & echo $! >far; echo $$ >main; exec sleep 1000";
    let (begun, begins) = smol::channel::bounded(1);
    let here = directory.path().to_owned();
    let watch = thread::spawn(move || {
        let both = (pid_in(&here, "far"), pid_in(&here, "main"));
        begun.send_blocking(both).unwrap();
    });
    let run = async {
        let (end, _) = runs.run(&trees, "a", shell(directory.path(), script), LONG).await;
        panic!("{end:?}");
    };
    // The run is dropped once the program runs, as in a daemon that ends.
    let (far, main) = block_on(run.or(async { begins.recv().await.unwrap() }));
    watch.join().unwrap();
    wait_until("nothing is left", || !is_there(far) && !is_there(main));
}
