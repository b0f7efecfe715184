//! The daemon's process trees: each start is watched, stopped with all its processes and reaped. No other process is touched.

mod adoption;
mod output;
mod programs;

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use ops_agent::testing::daemon::processes::{
    IdentityKey, Launch, MARKER, MainExit, StartError, StartSecret, Trees, identity_of, of_agent, start, tail,
};
use ops_config::daemon::ProcessSettings;
use rustix::process::{Pid, kill_process};
use smol::block_on;
use statemachine::supervision::{Exit, Identity, StopScope, StopSettings, StopSignal};
use tempfile::TempDir;

use crate::support::agent::wait_until;

const WORK_DIR: &str = "PROCESSES_UNDER_TEST";
const SCRIPT: &str = "PROCESSES_SCRIPT";

/// A launch of the agent `tested`. Its daemon's work directory is its own.
pub(crate) fn launch(work_dir: &Path, binary: &str, args: &[&str]) -> Launch {
    fs::create_dir_all(work_dir).ok();
    let secret = match IdentityKey::open(work_dir) {
        Ok(key) => key.issue("tested").unwrap(),
        // A test of a directory that cannot be used.
        Err(_) => StartSecret::presented("none"),
    };
    let own = env::vars_os().filter(|(name, _)| name != WORK_DIR && name != SCRIPT);
    Launch {
        binary: binary.into(),
        args: args.iter().map(Into::into).collect(),
        work_dir: work_dir.to_owned(),
        daemon_dir: work_dir.to_owned(),
        environment: of_agent(own, &[], "tested", work_dir, &secret),
        secret,
        open_files: None,
        settings: ProcessSettings::default(),
        cgroups: None,
        launcher: env!("CARGO_BIN_EXE_daemon").into(),
    }
}

fn shell(work_dir: &Path, script: &str) -> Launch {
    launch(work_dir, "/bin/sh", &["-c", script])
}

/// One tree, with the only daemon that this process has.
struct Tree {
    trees: Trees,
    main: Identity,
}

impl Tree {
    fn start(work_dir: &TempDir, script: &str) -> Self {
        let trees = Trees::default();
        let started = block_on(start(shell(work_dir.path(), script), |_, _| ())).unwrap();
        let main = trees.insert(started);
        Self { trees, main }
    }

    fn main_exited(&self) -> MainExit {
        block_on(self.trees.main_exited(self.main)).unwrap()
    }

    fn stop(&self) {
        assert_eq!(self.stop_as(StopSettings::default()), None);
    }

    fn stop_as(&self, settings: StopSettings) -> Option<String> {
        block_on(self.trees.stop(self.main, settings))
    }

    fn kill(&self) {
        assert_eq!(block_on(self.trees.kill(self.main)), None);
    }

    fn emptied(&self) {
        block_on(self.trees.emptied(self.main));
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        block_on(self.trees.kill(self.main));
        self.main_exited();
        self.trees.reap(self.main);
    }
}

fn temp_dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The output, without the lines that mark a start.
fn all_lines(work_dir: &TempDir) -> Vec<String> {
    let mut lines = block_on(tail(work_dir.path(), 0, usize::MAX)).unwrap();
    lines.retain(|line| !line.starts_with(MARKER));
    lines
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
        assert_eq!(Tree::start(&work_dir, script).main_exited(), MainExit { exit: expected, left: 0 }, "{script}");
    }
}

#[test]
fn an_ended_process_keeps_its_pid_until_it_is_reaped_and_leaves_no_zombie() {
    let work_dir = temp_dir();
    let tree = Tree::start(&work_dir, "exit 3");
    let proc = format!("/proc/{}", tree.main.pid);
    assert_eq!(tree.main_exited().exit, Exit::Code(3));
    assert!(Path::new(&proc).exists());
    assert_eq!(tree.main_exited().exit, Exit::Code(3), "and says the same again");
    tree.trees.reap(tree.main);
    assert!(!Path::new(&proc).exists());
    std::mem::forget(tree);
}

#[test]
fn a_process_leads_its_own_session_in_its_own_directory() {
    let root = temp_dir();
    let work_dir = root.path().join("agents/tested");
    let script = "pwd; read line || echo nothing to read; echo error >&2; cut -d ' ' -f 5,6 /proc/$$/stat; echo $$";
    let started = block_on(start(shell(&work_dir, script), |_, _| ())).unwrap();
    assert_eq!(block_on(started.main.exited()), Exit::Code(0));
    let lines = block_on(tail(&work_dir, started.log.length, 10)).unwrap();
    assert_eq!(lines[..3], [work_dir.to_str().unwrap(), "nothing to read", "error"]);
    assert_eq!(lines[3], format!("{0} {0}", lines[4]), "group and session are its own");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&work_dir.join("logs/agent.log")), 0o600);
}

#[test]
fn the_start_is_recorded_before_the_program_runs() {
    let work_dir = temp_dir();
    let marker = work_dir.path().join("marker");
    let script = format!("[ -e {} ] && echo recorded", marker.display());
    let started = block_on(start(shell(work_dir.path(), &script), move |identity, _| {
        assert!(is_there(identity.pid));
        fs::write(&marker, "").unwrap();
    }));
    let started = started.unwrap();
    assert_eq!(block_on(started.main.exited()), Exit::Code(0));
    assert_eq!(all_lines(&work_dir), ["recorded"]);
}

#[test]
fn a_signal_reaches_the_tree_in_every_session() {
    for (ignore, kills, expected) in [("", false, Exit::Signal(15)), ("trap '' TERM;", true, Exit::Signal(9))] {
        let work_dir = temp_dir();
        let script = format!(
            "{ignore} sleep 1000 & echo $!; setsid sh -c 'sleep 1000 & echo $!; wait' & \
             setsid env -i /bin/sh -c 'echo $$; exec sleep 1000' & wait"
        );
        let tree = Tree::start(&work_dir, &script);
        let others = pids(&work_dir, 3);
        if kills {
            tree.kill()
        } else {
            tree.stop()
        }
        assert_eq!(tree.main_exited().exit, expected);
        tree.emptied();
        assert!(!others.iter().any(|pid| is_there(*pid)), "all that it started is gone");
    }
}

#[test]
fn a_stopped_process_receives_the_termination_signal() {
    let work_dir = temp_dir();
    let tree = Tree::start(&work_dir, "trap 'exit 5' TERM; echo $$; while :; do sleep 0.01; done");
    signal(pids(&work_dir, 1)[0], rustix::process::Signal::STOP);
    tree.stop();
    assert_eq!(tree.main_exited().exit, Exit::Code(5));
}

#[test]
fn the_first_signal_of_a_stop_is_the_configured_one() {
    for (signal, name) in [(StopSignal::Int, "INT"), (StopSignal::Usr2, "USR2"), (StopSignal::Winch, "WINCH")] {
        let work_dir = temp_dir();
        let script = format!("trap 'exit 5' {name}; trap 'exit 6' TERM; echo $$; while :; do sleep 0.01; done");
        let tree = Tree::start(&work_dir, &script);
        pids(&work_dir, 1);
        tree.stop_as(StopSettings { signal, ..StopSettings::default() });
        assert_eq!(tree.main_exited().exit, Exit::Code(5), "{name}");
    }
}

#[test]
fn a_stop_of_the_group_leaves_other_sessions_running() {
    let work_dir = temp_dir();
    let tree = Tree::start(&work_dir, "sleep 1000 & setsid sleep 1000 & echo $!; echo $$; wait");
    let [login, main] = pids(&work_dir, 2)[..] else { panic!() };
    // Until then it is in the session of the main process.
    wait_until("the other session has begun", || session_of(login) == login);
    let released = tree.stop_as(StopSettings { scope: StopScope::Group, ..StopSettings::default() });
    assert_eq!(released, Some(format!("pid {login}")));
    assert_eq!(tree.main_exited().exit, Exit::Signal(15));
    tree.emptied();
    assert!(!is_there(main) && is_there(login), "it is no member any more");
    tree.kill();
    assert!(is_there(login), "and is not killed");
    signal(login, rustix::process::Signal::KILL);
}

/// The ID of the session of a process.
fn session_of(pid: u32) -> u32 {
    rustix::process::getsid(Pid::from_raw(pid.cast_signed()))
        .map_or(0, |session| session.as_raw_nonzero().get().cast_unsigned())
}

#[test]
fn what_a_main_process_leaves_is_counted_and_has_its_own_time_to_end() {
    let work_dir = temp_dir();
    let worker = "trap 'sleep 0.2; echo drained; exit' TERM; echo $$; while :; do sleep 0.01; done";
    let tree = Tree::start(
        &work_dir,
        &format!(
            "setsid sh -c \"{}\" & until grep -q ^[0-9] logs/agent.log; do sleep 0.01; done; exit 1",
            worker.replace('$', "\\$")
        ),
    );
    let exit = tree.main_exited();
    assert_eq!(exit.exit, Exit::Code(1));
    assert!(exit.left >= 1, "{exit:?}");
    let worker: u32 = all_lines(&work_dir)[0].parse().unwrap();
    assert!(is_there(worker), "it is not killed when its main process ends");
    tree.stop();
    tree.emptied();
    assert!(all_lines(&work_dir).contains(&"drained".to_owned()), "{:?}", all_lines(&work_dir));
    assert!(!is_there(worker));
}

#[test]
fn what_a_tree_uses_is_the_sum_over_its_processes() {
    let work_dir = temp_dir();
    let tree = Tree::start(&work_dir, "setsid sleep 1000 & echo $!; echo $$; while :; do :; done");
    let members = pids(&work_dir, 2);
    let usage = || block_on(tree.trees.usage(tree.main, Duration::ZERO, None)).unwrap().unwrap();
    let first = usage();
    assert_eq!(first.processes, 2);
    let resident = |pid: &u32| {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    wait_until("the memory is that of both", || usage().resident_bytes > members.iter().map(resident).max().unwrap());
    wait_until("it is busy", || usage().cpu_ticks > first.cpu_ticks);
    for pid in &members {
        assert_eq!(tree.trees.tree_of(*pid), Some(tree.main), "{pid}");
    }
    assert_eq!(tree.trees.tree_of(std::process::id()), None, "the daemon itself is in no tree");
}

#[test]
fn trees_share_a_look_that_is_recent_enough_and_shows_them() {
    let work_dir = temp_dir();
    let tree = Tree::start(&work_dir, "exec sleep 1000");
    let hour = Duration::from_secs(3600);
    let usage = |main, max_age| block_on(tree.trees.usage(main, max_age, None)).unwrap().unwrap();
    let first = usage(tree.main, Duration::ZERO);
    assert_eq!(usage(tree.main, hour).at, first.at);
    assert!(usage(tree.main, Duration::ZERO).at > first.at);

    let another = temp_dir();
    let started = block_on(start(shell(another.path(), "exec sleep 1000"), |_, _| ())).unwrap();
    let later = tree.trees.insert(started);
    let usage_of_later = usage(later, hour);
    assert!(
        usage_of_later.processes == 1 && usage_of_later.at > first.at,
        "the look before its start does not show it"
    );
    assert_eq!(usage(tree.main, hour).at, usage_of_later.at);
    block_on(tree.trees.kill(later));
    block_on(tree.trees.main_exited(later));
    tree.trees.reap(later);
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
        block_on(start(launch(work_dir, binary.to_str().unwrap(), &[]), |_, _| ())).unwrap_err()
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
