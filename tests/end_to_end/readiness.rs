//! `ready`: an agent is Running when it says so, or when its HTTP check has passed.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use test_requirements::requires;

use super::setup::{configure, stand_in};
use crate::support::agent::wait_until;
use crate::support::daemon::DaemonDir;

/// Python, because a shell cannot send a datagram. It waits for the file `go`, then says that it is ready.
const NOTIFIER: &str = r#"exec python3 -c '
import os, socket, time
def say(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        s.send(text.encode())
say("STATUS=loads tables")
while not os.path.exists("go"): time.sleep(0.02)
say("READY=1\nSTATUS=serves")
while True: time.sleep(1)
'"#;

fn site(id: &str, script: &str, more: &str) -> DaemonDir {
    let site = DaemonDir::new(&[]);
    let entry = stand_in(&site, id, script, &format!("{more}, health_check: {{ heartbeat_timeout: 0 }}"));
    configure(&site, 0, &[entry]);
    site
}

fn directory(site: &DaemonDir, id: &str) -> PathBuf {
    site.path().join("state/agents").join(id)
}

fn says(agent: &Value, text: &str) -> bool {
    agent["said"] == text
}

#[requires("python3")]
#[test]
fn an_agent_is_running_when_it_has_said_so_and_stays_it_for_the_next_daemon() {
    let site = site("a", NOTIFIER, ", ready: notify");
    let mut daemon = site.start();
    let agent = site.wait_for("a", "says what it does", |agent| says(agent, "loads tables"));
    assert_eq!(agent["state"], "starting");
    assert!(agent["why"].as_str().unwrap().contains("it has not sent READY=1"), "{agent}");
    fs::write(directory(&site, "a").join("go"), "").unwrap();
    let agent = site.wait_for("a", "is running", |agent| agent["state"] == "running" && says(agent, "serves"));
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait();
    // It says nothing a second time.
    let _next = site.start();
    let again = site.wait_for("a", "is running again", |agent| agent["state"] == "running");
    assert_eq!(again["pid"], agent["pid"]);
}

#[requires("python3")]
#[test]
fn what_a_stranger_sends_to_the_socket_of_an_agent_counts_for_nothing() {
    let site = site("a", NOTIFIER, ", ready: notify");
    let _daemon = site.start();
    site.wait_for("a", "says what it does", |agent| says(agent, "loads tables"));
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    socket.connect(site.path().join("state/notify/a.sock")).unwrap();
    socket.send(b"READY=1\nSTATUS=forged").unwrap();
    // What the agent sends later is read later.
    fs::write(directory(&site, "a").join("go"), "").unwrap();
    let agent = site.wait_for("a", "is running", |agent| agent["state"] == "running");
    assert!(says(&agent, "serves"), "{agent}");
}

#[test]
fn an_agent_that_is_not_ready_in_time_is_restarted_and_the_reason_says_so() {
    let site = site("a", "echo $NOTIFY_SOCKET >socket\nexec sleep 1000", ", ready: notify, ready_timeout: 1s");
    let _daemon = site.start();
    let agent = site.wait_for("a", "was restarted", |agent| agent["restarts"].as_u64() > Some(0));
    assert_eq!(agent["reason"]["code"], "not_ready");
    let text = agent["reason"]["text"].as_str().unwrap();
    assert!(text.starts_with("not ready within 1.0 s: it has not sent READY=1"), "{text}");
    let given = fs::read_to_string(directory(&site, "a").join("socket")).unwrap();
    assert!(given.trim_end().ends_with("state/notify/a.sock"), "{given}");
}

#[requires("python3")]
#[test]
fn with_ready_http_an_agent_is_running_after_its_first_good_answer() {
    let site = DaemonDir::new(&[]);
    let port = super::setup::free_port();
    let script = format!(
        "while ! [ -e go ]; do sleep 0.05; done\nexec python3 -m http.server --bind 127.0.0.1 {port} >/dev/null 2>&1"
    );
    let more = format!(
        ", ready: http, health_check: {{ heartbeat_timeout: 0, http_failures: 1, http_endpoint: \"http://127.0.0.1:{port}/\" }}"
    );
    let entry = stand_in(&site, "a", &script, &more);
    configure(&site, 0, &[entry]);
    let _daemon = site.start();
    let failed = |agent: &Value| {
        let checks = agent["signals"].as_array().cloned().unwrap_or_default();
        checks.iter().any(|check| check["check"] == "http" && check["verdict"] == "bad")
    };
    let agent = site.wait_for("a", "has a bad HTTP check", failed);
    assert_eq!(
        (&agent["state"], &agent["restarts"]),
        (&"starting".into(), &0.into()),
        "until it is ready, only its process counts"
    );
    let go = directory(&site, "a").join("go");
    wait_until("the directory is there", || fs::write(&go, "").is_ok());
    site.wait_for("a", "is running", |agent| agent["state"] == "running" && agent["restarts"] == 0);
}
