//! `daemon reload`.

use std::fs;
use std::net::SocketAddr;

use crate::support::daemon::{AgentEntry, DaemonDir};
use crate::support::http::{Reply, exchange, get};

use super::{stderr, stdout};

fn post_reload(http: SocketAddr) -> Reply {
    exchange(http, format!("POST /reload HTTP/1.1\r\nhost: {http}\r\ncontent-length: 0\r\n\r\n"))
}

#[test]
fn a_reload_says_what_it_changed_or_why_it_changed_nothing() {
    let daemon_dir = DaemonDir::new(&["one", "two", "three"].map(AgentEntry::new));
    let mut daemon = daemon_dir.start();
    for id in ["one", "two", "three"] {
        daemon_dir.wait_for_state(id, "running");
    }
    let stopped = daemon_dir.ask(&["stop", "three"]);
    assert!(stopped.status.success(), "{stopped:?}");
    daemon_dir.configure(&[
        AgentEntry::new("one").with("stop_timeout: 40s"),
        AgentEntry::new("two").with("args: [-config, two.yaml]"),
        AgentEntry::new("three").with("args: [-config, three.yaml]"),
        AgentEntry::new("four").with("enabled: false"),
    ]);
    let reload = daemon_dir.ask(&["reload"]);
    let text = stdout(&reload);
    assert_eq!(reload.status.code(), Some(0), "{reload:?}");
    let has = |line: &str| text.lines().any(|shown| shown.split_whitespace().collect::<Vec<_>>().join(" ") == line);
    for line in ["added four", "restarted two", "changed live one, three"] {
        assert!(has(line), "{line} is not in {text}");
    }
    assert!(text.starts_with("configuration reloaded: 1 added, 1 restarted, 2 changed live"), "{text}");
    let status = stdout(&daemon_dir.ask(&["status"]));
    assert!(status.contains("ago: 1 added, 1 restarted, 2 changed live"), "{status}");

    let file = daemon_dir.path().join("daemon.yaml");
    fs::write(&file, "agents: [{ id: one, binary_path: relative }]\n").unwrap();
    let refused = daemon_dir.command(&["reload", "--socket", "state/daemon.sock"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    let text = stderr(&refused);
    assert!(text.contains("nothing was changed") && text.contains("binary_path"), "{text}");
    assert!(text.contains(&format!("{}:1:", file.display())), "the absolute path: {text}");
    let http: SocketAddr = ([127, 0, 0, 1], daemon.port()).into();
    let health = get(http, "/health").json();
    assert_eq!(health["last_reload"]["success"], false, "{health}");
    let over_http = post_reload(http);
    assert_eq!((over_http.status, over_http.code().as_str()), (400, "CONFIG_ERROR"));

    daemon_dir.configure(&["one", "two", "three"].map(AgentEntry::new));
    let over_http = post_reload(http);
    assert_eq!((over_http.status, &over_http.json()["removed"]), (200, &serde_json::json!(["four"])));
    let last = get(http, "/health").json()["last_reload"].clone();
    assert_eq!(last["success"], true, "{last}");
    assert!(last["by"].as_str().unwrap().starts_with("POST /reload from 127.0.0.1"), "{last}");
}
