//! The process that writes the log file of a program.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use test_requirements::requires;

use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::daemon::{is_there, signal};
use crate::support::programs;

const LOGGING: &str = "log: { file: disk/a.log, level: debug }\n";

/// The children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

/// The log writers of a process.
fn writers(pid: u32) -> Vec<u32> {
    let children = children(pid).into_iter();
    let is_writer = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("\0log-writer\0"))
    };
    // One that has ended has no command line.
    children.filter(is_writer).collect()
}

fn is_running(agent_dir: &AgentDir) -> bool {
    fs::read_to_string(agent_dir.status_file()).is_ok_and(|text| text.contains("state: Running"))
}

fn lines_with(log: &Path, part: &str) -> usize {
    fs::read_to_string(log).unwrap_or_default().lines().filter(|line| line.contains(part)).count()
}

#[test]
fn a_log_writer_that_was_killed_is_replaced_and_none_outlives_its_program() {
    let agent_dir = AgentDir::new(LOGGING);
    let log = agent_dir.path().join("disk/a.log");
    let mut agent = agent_dir.spawn();
    wait_until("the agent runs", || is_running(&agent_dir));
    let [first] = writers(agent.pid())[..] else { panic!("{:?}", writers(agent.pid())) };
    signal(first, Signal::TERM);
    signal(first, Signal::INT);
    agent.signal(Signal::HUP);
    wait_until("a reload opens the log again", || !is_there(first) && writers(agent.pid()).len() == 1);
    let second = writers(agent.pid())[0];
    signal(second, Signal::KILL);
    let before = lines_with(&log, "reload");
    wait_until("another writer writes", || {
        agent.signal(Signal::HUP);
        lines_with(&log, "reload") > before && writers(agent.pid()).iter().any(|pid| *pid != second)
    });
    wait_until("one writer is left", || writers(agent.pid()).len() == 1);
    let third = writers(agent.pid())[0];
    assert_eq!(agent.stop(), Some(0));
    assert!(!is_there(third), "it ends before its program");
    assert_eq!(lines_with(&log, "\"to\":\"Stopped\""), 1, "the last lines are written");

    let mut agent = agent_dir.spawn();
    wait_until("the agent runs", || is_running(&agent_dir) && writers(agent.pid()).len() == 1);
    let writer = writers(agent.pid())[0];
    agent.signal(Signal::KILL);
    agent.wait();
    wait_until("the writer ends with its program", || !is_there(writer));
}

/// Freezes or thaws the file system that only `pid` sees.
fn freeze(how: &str, pid: u32, path: &Path) {
    let mut command = Command::new("nsenter");
    command.arg(format!("--mount=/proc/{pid}/ns/mnt")).args(["fsfreeze", how]).arg(path);
    assert!(command.status().unwrap().success(), "fsfreeze {how}");
}

#[requires("frozen-disk")]
#[test]
fn a_program_whose_log_is_on_a_hung_disk_ends_when_it_is_told_to() {
    let agent_dir = AgentDir::new(LOGGING);
    let disk = agent_dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = "truncate -s 32M image && mkfs.ext4 -q image && mount -o loop image disk";
    // It stays in the namespace, so that the disk can be thawed after the agent.
    let agent = format!("sleep 1000 & {mount} && exec {} run --config agent.yaml", programs::agent());
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", &agent]).current_dir(agent_dir.path()).env_clear();
    let mut agent = Agent::spawn(command);
    wait_until("the agent runs", || is_running(&agent_dir) && writers(agent.pid()).len() == 1);
    let writer = writers(agent.pid())[0];
    let keeper = children(agent.pid()).into_iter().find(|pid| *pid != writer).unwrap();
    freeze("--freeze", keeper, &disk);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        agent.signal(Signal::HUP);
        agent.signal(Signal::TERM);
        agent.wait()
    }));
    freeze("--unfreeze", keeper, &disk);
    signal(keeper, Signal::KILL);
    let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert_eq!((ended.signal(), ended.code().is_some()), (None, true), "{ended:?}");
    wait_until("the writer ends too", || !is_there(writer));
}
