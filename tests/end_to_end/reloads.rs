//! What a reload applies to agents that keep running: included files, and the sizes of logs.

use std::fs;

use rustix::process::Signal;

use super::report::Scenario;
use super::setup::{configure, running, stand_in};
use crate::support::agent::{Agent, wait_until};
use crate::support::daemon::DaemonDir;

/// Checks that need nothing of a program.
const UNJUDGED: &str = ", health_check: { heartbeat_timeout: 0 }";

fn reload(daemon: &mut Agent) {
    daemon.signal(Signal::HUP);
    daemon.wait_for_message("configuration reloaded");
}

#[test]
fn a_reload_reads_included_files_again() {
    let mut scenario =
        Scenario::begin("included files", "a new file in `agents.d` starts an agent, and one that is gone stops it");
    let daemon_dir = DaemonDir::new(&[]);
    let file = |id: &str| format!("agents: [{{ {} }}]\n", stand_in(&daemon_dir, id, "exec sleep 3600", UNJUDGED));
    let path = |name: &str| daemon_dir.path().join(name);
    configure(&daemon_dir, 0, &[]);
    let main =
        fs::read_to_string(path("daemon.yaml")).unwrap().replace("agents:\n  []\n", "include: ['agents.d/*.yaml']\n");
    fs::write(path("daemon.yaml"), main).unwrap();
    fs::create_dir(path("agents.d")).unwrap();
    fs::write(path("agents.d/a.yaml"), file("a")).unwrap();
    let validated = daemon_dir.ask(&["validate"]);
    let text = String::from_utf8(validated.stdout).unwrap();
    assert!(
        text.contains("read: daemon.yaml\nread: agents.d/a.yaml\nOK - daemon.yaml is valid and has 1 agents: a"),
        "{text}"
    );

    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["a"]);
    fs::write(path("agents.d/b.yaml"), file("b")).unwrap();
    reload(&mut daemon);
    assert_eq!(running(&daemon_dir, &["a", "b"])[0], before[0]);
    fs::write(path("agents.d/b.yaml"), "agents: [{ id: a").unwrap();
    daemon.signal(Signal::HUP);
    let refused = daemon.wait_for_message("configuration not reloaded: nothing was changed");
    assert!(refused["error"].as_str().unwrap().contains("agents.d/b.yaml:1:"), "{refused}");
    fs::remove_file(path("agents.d/b.yaml")).unwrap();
    reload(&mut daemon);
    wait_until("the agent of the removed file is gone", || daemon_dir.agent("b").is_null());
    assert_eq!(daemon_dir.pid("a"), Some(before[0]));
    scenario.saw("started and stopped; the other one untouched");
}

#[test]
fn a_reload_changes_when_a_log_is_rotated_and_how_much_is_kept() {
    let mut scenario =
        Scenario::begin("the size of a log", "rotated at the new size, then emptied, by the same process");
    let daemon_dir = DaemonDir::new(&[]);
    let script = "for n in 1 2; do head -c 100000 /dev/zero | tr '\\0' \"$n\"; while [ ! -e go$n ]; do sleep 0.05; done; done\n\
                  exec sleep 3600";
    let set = |log: &str| {
        let entry = stand_in(&daemon_dir, "a", script, &format!("{log}{UNJUDGED}"));
        configure(&daemon_dir, 0, &[entry]);
    };
    set("");
    let mut daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["a"]);
    let work_dir = daemon_dir.path().join("state/agents/a");
    let log = |name: &str| fs::read_to_string(work_dir.join("logs").join(name)).unwrap_or_default();
    wait_until("the output is written", || log("agent.log").matches('1').count() >= 100_000);
    set(", log: { max_size: 64KiB, keep: 1 }");
    reload(&mut daemon);
    wait_until("the log is rotated", || log("agent.log").is_empty() && log("agent.log.1").ends_with("111"));
    fs::write(work_dir.join("go1"), "").unwrap();
    wait_until("more output is written", || log("agent.log").len() >= 100_000 || log("agent.log.1").ends_with("222"));
    set(", log: { max_size: 64KiB, keep: 0 }");
    reload(&mut daemon);
    let is_emptied = || log("agent.log").is_empty() && !work_dir.join("logs/agent.log.1").exists();
    fs::write(work_dir.join("go2"), "").unwrap();
    wait_until("the log is emptied, and its copy removed", is_emptied);
    assert_eq!(daemon_dir.pid("a"), Some(before[0]));
    scenario.saw("both, without a restart");
}
