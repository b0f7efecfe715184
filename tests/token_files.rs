//! The files that `http.token_file` names.

use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;

use crate::support::agent::AgentDir;
use crate::support::daemon::DaemonDir;
use crate::support::http::request;

const AGENT: &str = "http: { port: 0, token_file: token }\n";
/// The option that gives a daemon its token file.
const DAEMON: [&str; 2] = ["--set", "daemon.http.token_file=token"];

fn write(directory: &Path, token: &str, mode: u32) {
    let file = directory.join("token");
    fs::write(&file, token).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
}

/// The exit code of a command, and what it printed.
fn result(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// The status of a request that needs this token.
fn status_with(port: u16, path: &str, token: &str) -> u16 {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    request(address, "POST", path, &format!("authorization: Bearer {token}\r\n")).status
}

#[test]
fn a_file_without_a_token_is_a_problem_of_validate_and_run() {
    type Make = fn(&Path);
    let cases: [(Make, &str); 6] = [
        (|_| {}, "which cannot be read: No such file"),
        (|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()), "which is not a regular file"),
        (|path| fs::create_dir(path).unwrap(), "which is not a regular file"),
        (|path| symlink("/dev/zero", path).unwrap(), "which is not a regular file"),
        (|path| File::create(path).unwrap().set_len(1 << 40).unwrap(), "which is larger than 64 KiB"),
        (|path| fs::write(path, "\ntoken\n").unwrap(), "which has no token"),
    ];
    for (make, fact) in cases {
        let (agent_dir, daemon_dir) = (AgentDir::new(AGENT), DaemonDir::new(&[]));
        make(&agent_dir.path().join("token"));
        make(&daemon_dir.path().join("token"));
        for command in ["validate", "run"] {
            let (code, text) = result(agent_dir.command(&[command, "--config", "agent.yaml"]));
            let problem = format!("`http.token_file` is `token`, {fact}");
            assert!(code == Some(78) && text.contains(&problem), "{command}: {code:?} {text}");
            assert!(text.contains("agent.yaml:2:30"), "{text}");
            let mut daemon = daemon_dir.command(&[command, "--config", "daemon.yaml"]);
            daemon.args(DAEMON);
            let (code, text) = result(daemon);
            assert!(code == Some(78) && text.contains(&format!("is `token`, {fact}")), "{command}: {code:?} {text}");
        }
    }
}

#[test]
fn a_token_that_others_can_read_or_write_is_a_note_and_a_warning() {
    let agent_dir = AgentDir::new(AGENT);
    for (mode, fact) in [
        (0o644, "which all users of this host can read"),
        (0o660, "which others can write"),
        (0o666, "which others can write"),
    ] {
        write(agent_dir.path(), "s3cret", mode);
        let (code, text) = result(agent_dir.command(&["validate", "--config", "agent.yaml"]));
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with("note: ") && text.contains(fact) && !text.contains("s3cret"), "{mode:o}: {text}");
    }
    let mut agent = agent_dir.spawn();
    agent.wait_for("a warning", |line| {
        line["message"].as_str().is_some_and(|message| message.contains("is `token`, which others can write"))
    });
    assert_eq!(agent.stop(), Some(0));
    write(agent_dir.path(), "s3cret", 0o640);
    let (_, text) = result(agent_dir.command(&["validate", "--config", "agent.yaml"]));
    assert!(text.starts_with("OK"), "{text}");
}

#[test]
fn a_reload_takes_the_new_token_of_an_agent() {
    let agent_dir = AgentDir::new(AGENT);
    write(agent_dir.path(), "old", 0o600);
    let mut agent = agent_dir.start();
    let port = agent.port();
    assert_eq!((status_with(port, "/reload", "old"), status_with(port, "/reload", "new")), (200, 401));
    write(agent_dir.path(), "new", 0o600);
    agent.signal(Signal::HUP);
    agent.wait_for_message("the token was replaced");
    assert_eq!((status_with(port, "/reload", "old"), status_with(port, "/reload", "new")), (401, 200));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_reload_takes_the_new_token_of_a_daemon_and_refuses_a_bad_one() {
    let daemon_dir = DaemonDir::new(&[]);
    write(daemon_dir.path(), "old", 0o600);
    let mut daemon = daemon_dir.start_with(&DAEMON);
    let port = daemon.port();
    // With the right token, the daemon says that it has no such agent.
    let path = "/agents/none/start";
    assert_eq!((status_with(port, path, "old"), status_with(port, path, "new")), (404, 401));
    write(daemon_dir.path(), "", 0o600);
    daemon.signal(Signal::HUP);
    daemon.wait_for("a refusal", |line| line.to_string().contains("which has no token"));
    assert_eq!((status_with(port, path, "old"), status_with(port, path, "new")), (404, 401));
    write(daemon_dir.path(), "new", 0o600);
    daemon.signal(Signal::HUP);
    daemon.wait_for_message("the token was replaced");
    assert_eq!((status_with(port, path, "old"), status_with(port, path, "new")), (401, 404));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_question_to_agent_or_daemon_does_not_need_the_token_file() {
    let agent_dir = AgentDir::new(AGENT);
    let (code, text) = result(agent_dir.command(&["check", "--config", "agent.yaml"]));
    assert!(code == Some(3) && text.contains("no status file"), "{code:?} {text}");
    let daemon_dir = DaemonDir::new(&[]);
    let yaml = "daemon: { work_dir: state, http: { port: 0, token_file: token } }\nagents: []\n";
    fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    let (code, text) = result(daemon_dir.command(&["status", "--config", "daemon.yaml"]));
    assert_eq!(code, Some(3), "no daemon is running: {text}");
}

#[test]
fn a_wrong_token_of_the_daemon_is_counted_and_logged_but_not_shown() {
    let daemon_dir = DaemonDir::new(&[]);
    write(daemon_dir.path(), "s3cret", 0o600);
    let yaml = "daemon: { work_dir: state, http: { port: 0, token_file: token } }\nagents: []\n";
    fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    let mut daemon = daemon_dir.start();
    let port = daemon.port();
    assert_eq!(status_with(port, "/agents/a/stop", "gu3ss"), 401);
    let line = daemon.wait_for_message("a request has a wrong token");
    assert!(line["peer"] == "127.0.0.1" && !line.to_string().contains("gu3ss"), "{line}");
    assert_eq!(status_with(port, "/agents/a/stop", "s3cret"), 404, "it is admitted, and there is no agent");
    let metrics = request(SocketAddr::from(([127, 0, 0, 1], port)), "GET", "/metrics", "").body;
    assert!(metrics.contains("\nops_daemon_tokens_refused_total 1\n"), "{metrics}");
}

#[test]
fn a_wrong_token_is_counted_and_logged_but_not_shown() {
    let agent_dir = AgentDir::new(AGENT);
    write(agent_dir.path(), "s3cret", 0o600);
    let mut agent = agent_dir.start();
    let port = agent.port();
    assert_eq!(status_with(port, "/reload", "gu3ss"), 401);
    let line = agent.wait_for_message("a request has a wrong token");
    assert!(line["peer"] == "this host" && !line.to_string().contains("gu3ss"), "{line}");
    assert_eq!(status_with(port, "/reload", "s3cret"), 200);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let text = request(address, "GET", "/metrics", "accept: text/plain\r\n").body;
    assert!(text.contains("\nops_agent_tokens_refused_total 1\n"), "{text}");
    assert!(!text.contains("ops_agent_heartbeat_last_success"), "it is standalone: {text}");
}
