//! The daemon's processes: each start is watched, stopped with all its descendants and reaped. No other process is
//! touched.
//!
//! The daemon that is killed here is this test binary, started again with [`WORK_DIR`] set.

use std::collections::HashSet;
use std::env;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ops_agent::testing::daemon::processes::{
    Launch, Process, Rotation, StartError, SupervisionTag, find, identity_of, rotate, start, tail,
};
use rustix::process::{Pid, kill_process};
use smol::block_on;
use statemachine::supervision::{BootId, Exit, Identity, Signal};
use tempfile::TempDir;

use crate::support::agent::wait_until;

const WORK_DIR: &str = "PROCESSES_UNDER_TEST";
const SCRIPT: &str = "PROCESSES_SCRIPT";

/// The test that becomes the daemon where [`WORK_DIR`] is set.
const DAEMON: &str = "daemon_processes::an_agent_outlives_a_killed_daemon_with_its_log_and_is_adopted_as_the_same";

fn launch(work_dir: &Path, script: &str) -> Launch {
    Launch {
        binary: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        work_dir: work_dir.to_owned(),
        tag: SupervisionTag::new(work_dir, "tested"),
    }
}

fn started(work_dir: &TempDir, script: &str) -> Process {
    block_on(start(launch(work_dir.path(), script))).unwrap()
}

fn temp_dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn all_lines(work_dir: &TempDir) -> Vec<String> {
    block_on(tail(work_dir.path(), 0, usize::MAX)).unwrap()
}

/// The pids that a script has printed, once there are `count`.
fn pids(work_dir: &TempDir, count: usize) -> Vec<u32> {
    wait_until("the script has printed its pids", || all_lines(work_dir).len() >= count);
    all_lines(work_dir).iter().map(|line| line.parse().unwrap()).collect()
}

fn is_there(pid: u32) -> bool {
    identity_of(pid).unwrap().is_some()
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn each_exit_is_reported_with_its_code_or_signal() {
    let ends = [
        ("exit 0", Exit::Code(0)),
        ("exit 1", Exit::Code(1)),
        ("exit 78", Exit::Code(78)),
        ("exit 255", Exit::Code(255)),
        ("kill -TERM $$", Exit::Signal(15)),
        ("kill -KILL $$", Exit::Signal(9)),
    ];
    for (script, expected) in ends {
        let work_dir = temp_dir();
        assert_eq!(block_on(started(&work_dir, script).exited()), expected, "{script}");
    }
}

#[test]
fn an_ended_process_keeps_its_pid_until_dropped_and_leaves_no_zombie() {
    let work_dir = temp_dir();
    let process = started(&work_dir, "exit 3");
    let proc = format!("/proc/{}", process.identity().pid);
    assert_eq!(block_on(process.exited()), Exit::Code(3));
    assert!(Path::new(&proc).exists());
    assert_eq!(block_on(process.exited()), Exit::Code(3), "and says the same again");
    drop(process);
    assert!(!Path::new(&proc).exists());
}

#[test]
fn a_process_leads_its_own_group_in_its_own_directory() {
    let root = temp_dir();
    let work_dir = root.path().join("agents/tested");
    let process = block_on(start(launch(&work_dir, "pwd; read line || echo nothing to read; echo error >&2"))).unwrap();
    assert_eq!(block_on(process.exited()), Exit::Code(0));
    let said = block_on(tail(&work_dir, 0, 10)).unwrap();
    assert_eq!(said, [work_dir.to_str().unwrap(), "nothing to read", "error"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&work_dir), mode(&work_dir.join("logs/agent.log"))), (0o700, 0o600));
}

#[test]
fn a_signal_reaches_the_whole_process_group() {
    for (ignore, how, expected) in
        [("", Signal::Term, Exit::Signal(15)), ("trap '' TERM;", Signal::Kill, Exit::Signal(9))]
    {
        let work_dir = temp_dir();
        let script = format!("{ignore} sleep 1000 & echo $!; (sleep 1000 & echo $!; wait) & echo $!; wait");
        let process = started(&work_dir, &script);
        let others = pids(&work_dir, 3);
        assert!(process.signal(how).unwrap());
        assert_eq!(block_on(process.exited()), expected);
        wait_until("all that it started is gone", || !others.iter().any(|pid| is_there(*pid)));
    }
}

#[test]
fn a_stopped_process_receives_the_termination_signal() {
    let work_dir = temp_dir();
    let process = started(&work_dir, "trap 'exit 5' TERM; echo $$; while :; do sleep 0.01; done");
    signal(pids(&work_dir, 1)[0], rustix::process::Signal::STOP);
    assert!(process.signal(Signal::Term).unwrap());
    assert_eq!(block_on(process.exited()), Exit::Code(5));
}

#[test]
fn leftover_descendants_are_killed() {
    let work_dir = temp_dir();
    let process = started(&work_dir, "sleep 1000 & echo $!; exit 1");
    assert_eq!(block_on(process.exited()), Exit::Code(1));
    let left = pids(&work_dir, 1)[0];
    assert!(is_there(left));
    block_on(process.kill_remaining()).unwrap();
    wait_until("what it left is gone", || !is_there(left));
}

#[test]
fn a_reused_pid_is_not_adopted() {
    let work_dir = temp_dir();
    let process = started(&work_dir, "sleep 1000");
    let real = process.identity();
    let other_boot: BootId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let tag = SupervisionTag::new(work_dir.path(), "tested");
    for recycled in [
        Identity { start_ticks: real.start_ticks + 1, ..real },
        Identity { start_ticks: real.start_ticks - 1, ..real },
        Identity { boot: other_boot, ..real },
        Identity { pid: 0, ..real },
        Identity { pid: u32::MAX, ..real },
    ] {
        assert!(Process::adopt(recycled, tag.clone()).unwrap().is_none(), "{recycled:?}");
    }
    assert!(is_there(real.pid));
    process.signal(Signal::Kill).unwrap();
    block_on(process.exited());
    assert!(Process::adopt(real, tag).unwrap().is_none(), "a zombie is not alive");
}

/// Starts one process, prints its identity, and waits to be killed.
fn be_a_daemon(work_dir: &str) {
    let script = env::var(SCRIPT).unwrap();
    let process = block_on(start(launch(Path::new(work_dir), &script))).unwrap();
    let Identity { pid, start_ticks, boot } = process.identity();
    eprintln!("started {pid} {start_ticks} {boot}");
    block_on(process.exited());
}

/// Starts [`be_a_daemon`] in a process of its own, and waits for the identity of its agent.
fn daemon(work_dir: &TempDir, script: &str) -> (Child, Identity) {
    let mut daemon = Command::new(env::current_exe().unwrap())
        .args([DAEMON, "--exact", "--nocapture"])
        .env(WORK_DIR, work_dir.path())
        .env(SCRIPT, script)
        .env("NOTIFY_SOCKET", "/nowhere")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(daemon.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = said.find_map(|line| line.strip_prefix("started ").map(str::to_owned)).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let identity = Identity {
        pid: words[0].parse().unwrap(),
        start_ticks: words[1].parse().unwrap(),
        boot: words[2].parse().unwrap(),
    };
    (daemon, identity)
}

#[test]
fn an_agent_outlives_a_killed_daemon_with_its_log_and_is_adopted_as_the_same() {
    if let Ok(work_dir) = env::var(WORK_DIR) {
        return be_a_daemon(&work_dir);
    }
    let work_dir = temp_dir();
    let (mut killed, identity) =
        daemon(&work_dir, "sleep 1000 & echo $!; while :; do echo \"socket=$NOTIFY_SOCKET\"; sleep 0.01; done");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let seen = all_lines(&work_dir).len();
    wait_until("the log goes on", || all_lines(&work_dir).len() > seen + 3);
    assert_eq!(all_lines(&work_dir)[1], "socket=", "what the daemon's service manager told it is not passed on");

    let tag = SupervisionTag::new(work_dir.path(), "tested");
    let found = block_on(find(HashSet::from([tag.clone(), SupervisionTag::new(work_dir.path(), "other")]))).unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(tag.clone(), identity)], "also without a record");
    let adopted = Process::adopt(identity, tag).unwrap().unwrap();
    assert_eq!(adopted.identity(), identity);

    // Only this process ends, so its descendants are left to be killed.
    signal(identity.pid, rustix::process::Signal::KILL);
    assert_eq!(block_on(adopted.exited()), Exit::Unseen);
    assert!(!adopted.signal(Signal::Kill).unwrap(), "the process is gone");
    let left: u32 = all_lines(&work_dir)[0].parse().unwrap();
    assert!(is_there(left));
    block_on(adopted.kill_remaining()).unwrap();
    wait_until("what it left is gone", || !is_there(left));
}

#[test]
fn an_adopted_process_ends_with_its_group() {
    let work_dir = temp_dir();
    let (mut killed, identity) = daemon(&work_dir, "sleep 1000 & echo $!; wait");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let adopted = Process::adopt(identity, SupervisionTag::new(work_dir.path(), "tested")).unwrap().unwrap();
    let other = pids(&work_dir, 1)[0];
    assert!(adopted.signal(Signal::Term).unwrap());
    assert_eq!(block_on(adopted.exited()), Exit::Unseen);
    wait_until("its group is gone", || !is_there(other));
}

#[test]
fn a_failed_start_names_its_cause() {
    let root = temp_dir();
    let file = |name: &str, text: &str, mode| {
        let path = root.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    };
    let error = |binary: &Path, work_dir: &Path| {
        block_on(start(Launch { binary: binary.to_owned(), ..launch(work_dir, "") })).unwrap_err()
    };
    let work_dir = root.path().join("work");
    let path = |path: &Path| path.display().to_string();

    let missing = root.path().join("missing");
    let said = error(&missing, &work_dir);
    assert!(matches!(said, StartError::Missing(_)) && !said.is_own_fault());
    assert_eq!(said.to_string(), format!("{} does not exist: install it, or correct `binary_path`", path(&missing)));

    let plain = file("plain", "#!/bin/sh\n", 0o600);
    assert!(matches!(error(&plain, &work_dir), StartError::NotExecutable(..)));
    assert!(matches!(error(root.path(), &work_dir), StartError::NotExecutable(..)));
    let orphan = file("orphan", "#!/nowhere/interpreter\n", 0o700);
    assert!(matches!(error(&orphan, &work_dir), StartError::InterpreterMissing(_)));
    let noise = file("noise", "\u{1}\u{2}\u{3}", 0o700);
    assert!(matches!(error(&noise, &work_dir), StartError::NotAProgram(..)));

    let said = error(Path::new("/bin/sh"), &plain.join("work"));
    assert!(matches!(said, StartError::WorkDir(..)));
    assert!(said.to_string().ends_with("cannot be used: not a directory: check the path"), "{said}");
    fs::create_dir_all(work_dir.join("logs/agent.log2")).unwrap();
    fs::remove_file(work_dir.join("logs/agent.log")).unwrap();
    fs::rename(work_dir.join("logs/agent.log2"), work_dir.join("logs/agent.log")).unwrap();
    assert!(matches!(error(Path::new("/bin/sh"), &work_dir), StartError::Output(..)));
}

#[test]
fn the_last_output_is_of_this_run_and_without_control_characters() {
    let work_dir = temp_dir();
    block_on(started(&work_dir, "echo earlier").exited());
    let process = started(&work_dir, r"printf 'one\n\033[31mtwo\r\n\377three\tfour'; exit 78");
    assert_eq!(block_on(process.exited()), Exit::Code(78));
    let words = |from, lines| block_on(tail(work_dir.path(), from, lines)).unwrap();
    assert_eq!(words(process.output_from(), 10), ["one", "[31mtwo", "\u{fffd}three\tfour"]);
    assert_eq!(words(process.output_from(), 1), ["\u{fffd}three\tfour"]);
    assert_eq!(words(0, 10).len(), 4);
    assert_eq!(block_on(tail(&work_dir.path().join("nowhere"), 0, 10)).unwrap(), [""; 0]);
}

#[test]
fn a_log_is_rotated_while_the_process_writes_it() {
    let work_dir = temp_dir();
    let rotation = Rotation { max_bytes: 100, copies: 2 };
    let rotated = || block_on(rotate(work_dir.path(), rotation)).unwrap();
    assert!(!rotated(), "no log yet");
    // The script prints twenty lines of ten bytes each time that the file `go` is removed.
    let script = "n=100; while :; do i=0; while [ $i -lt 20 ]; do i=$((i+1)); n=$((n+1)); echo line::$n; done; \
                  : >go; while [ -e go ]; do sleep 0.01; done; done";
    let process = started(&work_dir, script);
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
    process.signal(Signal::Kill).unwrap();
    block_on(process.exited());
}
