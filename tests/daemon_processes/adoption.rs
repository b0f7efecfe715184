//! What the next daemon takes over: only what is proved.
//!
//! The daemon that is killed here is this test binary, started again with [`WORK_DIR`] set.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ops_agent::testing::daemon::processes::{IdentityKey, MainExit, Search, Starts, Trees, adopt, start};
use smol::block_on;
use statemachine::supervision::{BootId, Exit, Identity, StopScope, StopSettings};
use tempfile::TempDir;

use super::{SCRIPT, Tree, WORK_DIR, all_lines, is_there, pids, shell, signal, temp_dir};
use crate::support::agent::wait_until;

/// The test that becomes the daemon where [`WORK_DIR`] is set.
const DAEMON: &str =
    "daemon_processes::adoption::an_agent_outlives_a_killed_daemon_with_its_log_and_is_adopted_as_the_same";

#[test]
fn a_reused_pid_is_not_adopted() {
    let work_dir = temp_dir();
    let tree = Tree::start(&work_dir, "sleep 1000");
    let real = tree.main;
    let other_boot: BootId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    for recycled in [
        Identity { start_ticks: real.start_ticks + 1, ..real },
        Identity { start_ticks: real.start_ticks - 1, ..real },
        Identity { boot: other_boot, ..real },
        Identity { pid: 0, ..real },
        Identity { pid: u32::MAX, ..real },
    ] {
        assert!(!Trees::default().adopt(recycled, None, None).unwrap(), "{recycled:?}");
    }
    assert!(is_there(real.pid));
    tree.kill();
    tree.main_exited();
    assert!(!Trees::default().adopt(real, None, None).unwrap(), "a zombie is not alive");
}

/// Starts one process, prints its identity, and waits to be killed.
fn be_a_daemon(work_dir: &str) {
    let (script, work_dir) = (env::var(SCRIPT).unwrap(), Path::new(work_dir));
    let starts = Starts::open(work_dir).unwrap();
    let launch = shell(work_dir, &script);
    let secret = launch.secret.clone();
    let record = move |process, user| starts.started(&"tested".into(), &secret, process, user).unwrap();
    let started = block_on(start(launch, record)).unwrap();
    let Identity { pid, start_ticks, boot } = started.main.identity();
    eprintln!("started {pid} {start_ticks} {boot}");
    block_on(started.main.exited());
}

/// Starts [`be_a_daemon`] in a process of its own, and waits for the identity of its agent. The daemon is then killed.
fn killed_daemon(work_dir: &TempDir, script: &str) -> Identity {
    let mut daemon: Child = Command::new(env::current_exe().unwrap())
        .args([DAEMON, "--exact", "--nocapture"])
        .env(WORK_DIR, work_dir.path())
        .env(SCRIPT, script)
        .env("NOTIFY_SOCKET", "/nowhere")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find_map(|line| line.strip_prefix("started ").map(str::to_owned)).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let identity = Identity {
        pid: words[0].parse().unwrap(),
        start_ticks: words[1].parse().unwrap(),
        boot: words[2].parse().unwrap(),
    };
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    identity
}

/// What the next daemon finds, with or without the record of the start.
fn found(work_dir: &TempDir, trees: &Trees, with_record: bool) -> Option<Identity> {
    found_with(work_dir, trees, with_record, StopScope::Tree)
}

fn found_with(work_dir: &TempDir, trees: &Trees, with_record: bool, scope: StopScope) -> Option<Identity> {
    let table = block_on(trees.scan()).unwrap();
    let key = IdentityKey::open(work_dir.path()).unwrap();
    let record = Starts::open(work_dir.path()).unwrap().get("tested").filter(|_| with_record);
    adopt(trees, &table, &key, &Search { id: "tested", registered: None, record, user: None, scope }).unwrap()
}

#[test]
fn an_agent_outlives_a_killed_daemon_with_its_log_and_is_adopted_as_the_same() {
    if let Ok(work_dir) = env::var(WORK_DIR) {
        return be_a_daemon(&work_dir);
    }
    let work_dir = temp_dir();
    let script = "sleep 1000 & echo $!; while :; do echo \"socket=$NOTIFY_SOCKET\"; sleep 0.01; done";
    let identity = killed_daemon(&work_dir, script);
    let seen = all_lines(&work_dir).len();
    wait_until("the log goes on", || all_lines(&work_dir).len() > seen + 3);
    assert_eq!(all_lines(&work_dir)[1], "socket=", "what the daemon's service manager told it is not passed on");

    assert_eq!(found(&work_dir, &Trees::default(), false), Some(identity), "also without a record");
    let trees = Trees::default();
    assert_eq!(found(&work_dir, &trees, true), Some(identity));

    // Only this process ends, so its descendants are left.
    signal(identity.pid, rustix::process::Signal::KILL);
    let exit = block_on(trees.main_exited(identity)).unwrap();
    assert_eq!(exit.exit, Exit::Unseen);
    assert!(exit.left >= 1, "{exit:?}");
    let left: u32 = all_lines(&work_dir)[0].parse().unwrap();
    assert!(is_there(left));
    block_on(trees.kill(identity));
    block_on(trees.emptied(identity));
    assert!(!is_there(left));
}

#[test]
fn what_outlived_its_agent_is_stopped_and_not_taken_for_the_agent() {
    let work_dir = temp_dir();
    let identity = killed_daemon(&work_dir, "setsid sleep 1000 & echo $!; exec sleep 2000");
    let helper = pids(&work_dir, 1)[0];
    signal(identity.pid, rustix::process::Signal::KILL);
    wait_until("the agent is gone", || !is_there(identity.pid));
    let left_alone = found_with(&work_dir, &Trees::default(), true, StopScope::Group);
    assert_eq!(left_alone, None, "a stop of the group leaves such processes on purpose");
    let trees = Trees::default();
    assert_eq!(found(&work_dir, &trees, true), Some(identity), "the tree of the dead agent");
    let exit = block_on(trees.main_exited(identity)).unwrap();
    assert_eq!(exit, MainExit { exit: Exit::Unseen, left: 1 });
    block_on(trees.stop(identity, StopSettings::default()));
    block_on(trees.emptied(identity));
    assert!(!is_there(helper));
}

#[test]
fn a_process_that_names_the_agent_without_its_secret_is_not_adopted() {
    let work_dir = temp_dir();
    IdentityKey::open(work_dir.path()).unwrap();
    let label = format!("tested@{}", work_dir.path().display());
    let forged = format!("{}.{}", "0".repeat(32), "0".repeat(64));
    let mut planted = Command::new("/bin/sleep")
        .arg("1000")
        .process_group(0)
        .env("OPS_AGENT_SUPERVISED_AS", label)
        .env("OPS_AGENT_START_SECRET", forged)
        .spawn()
        .unwrap();
    assert_eq!(found(&work_dir, &Trees::default(), true), None);
    assert_eq!(found(&work_dir, &Trees::default(), false), None);
    planted.kill().unwrap();
    planted.wait().unwrap();
}
