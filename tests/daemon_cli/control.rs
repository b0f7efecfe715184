//! `daemon start`, `stop`, `restart`, `hold` and `release` of several agents.

use crate::support::daemon::{AgentEntry, DaemonDir};

use super::{stderr, stdout};

#[test]
fn a_command_for_several_agents_has_a_line_for_each_in_their_order() {
    let daemon_dir = DaemonDir::new(&[
        AgentEntry::new("one"),
        AgentEntry::new("two"),
        AgentEntry::new("three"),
        AgentEntry::new("off").with("enabled: false"),
    ]);
    let _daemon = daemon_dir.start();
    for id in ["one", "two", "three"] {
        daemon_dir.wait_for_state(id, "running");
    }
    let stopped = daemon_dir.ask(&["stop", "three", "one", "three"]);
    assert_eq!((stdout(&stopped).as_str(), stopped.status.code()), ("three is stopped\none is stopped\n", Some(0)));

    let two = daemon_dir.pid("two").unwrap();
    let mixed = daemon_dir.ask(&["restart", "nowhere", "two"]);
    assert!(stdout(&mixed).starts_with("two is running, pid "), "{mixed:?}");
    assert!(stderr(&mixed).contains("nowhere"), "{mixed:?}");
    assert_eq!(mixed.status.code(), Some(1), "the worst decides");
    assert_ne!(daemon_dir.pid("two"), Some(two));

    let started = stdout(&daemon_dir.ask(&["start", "all"]));
    let ids: Vec<&str> = started.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids, ["one", "three", "two"], "`off` is disabled: {started}");
    assert_eq!(daemon_dir.agent("off")["state"], "stopped");

    assert!(daemon_dir.ask(&["stop", "one"]).status.success());
    let restarted = stdout(&daemon_dir.ask(&["restart", "all"]));
    let ids: Vec<&str> = restarted.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids, ["three", "two"], "`one` is stopped on purpose: {restarted}");
    let at_once = stdout(&daemon_dir.ask(&["stop", "all", "--wait", "0s"]));
    assert_eq!(at_once.lines().count(), 4, "{at_once}");
    let usage = daemon_dir.ask(&["stop"]);
    assert_eq!(usage.status.code(), Some(64), "{usage:?}");
}

#[test]
fn a_hold_that_is_refused_for_one_agent_is_made_for_the_others() {
    let daemon_dir = DaemonDir::new(&[AgentEntry::new("one"), AgentEntry::new("two")]);
    let _daemon = daemon_dir.start();
    let is_held = |id: &str| !daemon_dir.agent(id)["hold"].is_null();
    let held = daemon_dir.ask(&["hold", "nowhere", "two", "one", "two"]);
    let lines = "two: restarts for bad checks are held\none: restarts for bad checks are held\n";
    assert_eq!((stdout(&held).as_str(), held.status.code()), (lines, Some(1)), "the worst decides");
    assert!(stderr(&held).contains("nowhere") && is_held("one") && is_held("two"), "{held:?}");
    let released = daemon_dir.ask(&["release", "nowhere", "all"]);
    assert_eq!((stdout(&released).lines().count(), released.status.code()), (2, Some(0)), "`all` stands for each");
    assert!(!is_held("one") && !is_held("two"));
}

#[test]
fn the_time_to_wait_is_for_all_agents_together() {
    let daemon_dir = DaemonDir::new(&[]);
    let agent = |id: &str| {
        format!(
            "  - id: {id}\n    binary_path: /bin/sh\n    args: [-c, \"trap '' TERM; while :; do sleep 1; done\"]\n    \
             stop_timeout: 60s\n    health_check: {{ heartbeat_timeout: 0, start_grace: 0s, interval: 200ms }}\n"
        )
    };
    let yaml = format!("daemon: {{ work_dir: state, http: {{ port: 0 }} }}\nagents:\n{}{}", agent("one"), agent("two"));
    std::fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    let _daemon = daemon_dir.start();
    for id in ["one", "two"] {
        daemon_dir.wait_for_state(id, "running");
    }
    let stopped = daemon_dir.ask(&["stop", "one", "two", "--wait", "300ms"]);
    assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
    let text = stderr(&stopped);
    for id in ["one", "two"] {
        assert!(text.contains(&format!("{id} is still stopping after 300ms")), "{text}");
    }
}
