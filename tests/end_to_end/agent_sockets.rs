//! Sockets of single agents, and the proof that heartbeats need.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use test_requirements::requires;

use super::setup::{configure, configure_ours_for, daemon_dir, free_port, local, ours, running};
use crate::support::agent::wait_until;
use crate::support::daemon::{DaemonDir, is_there, start_secret};
use crate::support::http::exchange;

/// A daemon's directory with our agent `a`, which sends bare heartbeats to a socket of its own.
fn site(more: &str) -> DaemonDir {
    let site = daemon_dir(0, &[]);
    let own = site.path().join("own.sock");
    let entry = ours("a", &format!(", socket_path: own.sock, health_check: {{ heartbeat_timeout: 10m }}{more}"));
    configure_ours_for(&site, "a", 0, &format!("socket_path: \"{}\", interval: 200ms", own.display()), "");
    configure(&site, 0, &[entry]);
    site
}

/// One request over a socket, and its answer.
fn ask(socket: &Path, request: &Value) -> Value {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

fn heartbeat(id: &str, pid: u32, secret: &str) -> Value {
    json!({
        "agent_id": id, "pid": pid, "status": "running", "timestamp": "2026-01-01T00:00:00Z", "start_secret": secret,
    })
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[test]
fn the_socket_of_an_agent_takes_its_heartbeats_and_nothing_else() {
    let site = site("");
    let _daemon = site.start();
    let pid = running(&site, &["a"])[0];
    site.wait_for("a", "is heard", |agent| agent["heartbeats"].as_u64() > Some(2));
    let own = site.path().join("own.sock");
    assert_eq!(fs::metadata(&own).unwrap().mode() & 0o7777, 0o600);

    let secret = start_secret(pid);
    let answer = ask(&own, &request("heartbeat", heartbeat("a", pid, &secret)));
    assert_eq!(answer["result"]["message"], "heartbeat received", "{answer}");
    let of_another = ask(&own, &request("heartbeat", heartbeat("b", pid, &secret)));
    assert_eq!(of_another["error"]["data"]["code"], "INVALID_AGENT_ID", "{of_another}");
    for (method, params) in [("agents", json!({})), ("stop", json!({ "agent_id": "a" })), ("health", json!({}))] {
        let refused = ask(&own, &request(method, params));
        assert_eq!(refused["error"]["data"]["code"], "FORBIDDEN", "{refused}");
    }
    assert_eq!(site.agent("a")["state"], "running");
}

#[test]
fn the_socket_of_an_agent_comes_back_moves_and_goes_with_the_configuration() {
    let site = site("");
    let mut daemon = site.start();
    let pid = running(&site, &["a"]);
    let (own, moved) = (site.path().join("own.sock"), site.path().join("moved.sock"));
    fs::remove_file(&own).unwrap();
    wait_until("the removed socket is back", || is_socket(&own));

    let change = |from: &str, to: &str| {
        let path = site.path().join("daemon.yaml");
        let yaml = fs::read_to_string(&path).unwrap().replace(from, to);
        fs::write(path, yaml).unwrap();
    };
    change("socket_path: own.sock", "socket_path: moved.sock");
    daemon.signal(Signal::HUP);
    wait_until("the socket has moved", || is_socket(&moved) && !own.exists());
    change("socket_path: moved.sock, ", "");
    daemon.signal(Signal::HUP);
    wait_until("the socket is gone", || !moved.exists());
    assert_eq!(running(&site, &["a"]), pid, "the process was not touched");

    change("config_file: a.yaml", "config_file: a.yaml, socket_path: missing/own.sock");
    daemon.signal(Signal::HUP);
    let health = || serde_json::from_slice::<Value>(&site.ask(&["status", "--output", "json"]).stdout).unwrap();
    wait_until("the socket that cannot be bound is a fault", || {
        health().to_string().contains("the socket of the agent a cannot be used")
    });
    fs::create_dir(site.path().join("missing")).unwrap();
    wait_until("the fault is cleared", || !health().to_string().contains("cannot be used"));
    assert!(is_socket(&site.path().join("missing/own.sock")));
    daemon.signal(Signal::TERM);
    daemon.wait();
    assert!(!site.path().join("missing/own.sock").exists());
}

#[requires("root")]
#[test]
fn the_socket_of_an_agent_belongs_to_its_user_and_nothing_in_its_place_does() {
    let site = daemon_dir(0, &[]);
    fs::set_permissions(site.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let entry = "id: a, binary_path: /bin/sleep, args: ['1000'], user: bin, socket_path: own.sock, \
                 health_check: { heartbeat_timeout: 0 }";
    configure(&site, 0, &[entry.to_owned()]);
    let _daemon = site.start();
    running(&site, &["a"]);
    let own = site.path().join("own.sock");
    let uid = Command::new("id").args(["-u", "bin"]).output().unwrap();
    let uid: u32 = String::from_utf8(uid.stdout).unwrap().trim().parse().unwrap();
    let access = fs::metadata(&own).unwrap();
    assert_eq!((access.uid(), access.mode() & 0o7777), (uid, 0o600));

    // The user may put anything in its place, if the directory is the user's.
    fs::remove_file(&own).unwrap();
    fs::write(&own, "of root").unwrap();
    site.wait_for("a", "is running", |agent| agent["state"] == "running");
    let health = || String::from_utf8_lossy(&site.ask(&["status", "--output", "json"]).stdout).into_owned();
    wait_until("the file in its place is a fault", || health().contains("is not a socket"));
    assert_eq!(fs::metadata(&own).unwrap().uid(), 0);
    assert_eq!(fs::read_to_string(&own).unwrap(), "of root");
}

fn post(port: u16, pid: u32, secret: &str) -> u16 {
    let body = json!({ "agent_id": "a", "pid": pid, "status": "running", "timestamp": "2026-01-01T00:00:00Z" });
    let (body, headers) =
        (body.to_string(), if secret.is_empty() { String::new() } else { format!("ops-start-secret: {secret}\r\n") });
    exchange(
        local(port),
        format!("POST /heartbeat HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()),
    )
    .status
}

#[test]
fn a_heartbeat_that_proves_nothing_counts_only_where_no_proof_is_required() {
    for (proof, status) in [("preferred", 200), ("required", 409)] {
        let port = free_port();
        let entry =
            format!("id: a, binary_path: /bin/sleep, args: ['1000'], health_check: {{ heartbeat_proof: {proof} }}");
        let site = daemon_dir(port, &[entry]);
        let _daemon = site.start();
        let pid = site.wait_for("a", "has a process", |agent| agent["pid"].is_u64())["pid"].as_u64().unwrap();
        let pid = u32::try_from(pid).unwrap();
        assert_eq!(post(port, pid, ""), status, "{proof}");
        assert_eq!(post(port, pid, &start_secret(pid)), 200, "{proof}");
    }
}

#[test]
fn a_start_that_has_proved_itself_stays_proved_for_the_next_daemon_and_without_the_registry() {
    let port = free_port();
    let site = daemon_dir(port, &["id: a, binary_path: /bin/sleep, args: ['1000']".to_owned()]);
    let mut daemon = site.start();
    let pid = site.wait_for("a", "has a process", |agent| agent["pid"].is_u64())["pid"].as_u64().unwrap();
    let pid = u32::try_from(pid).unwrap();
    assert_eq!(post(port, pid, ""), 200);
    running(&site, &["a"]);
    // No transition follows this one, and it is saved all the same.
    assert_eq!(post(port, pid, &start_secret(pid)), 200);
    let record = site.path().join("state/starts/a.ron");
    wait_until("the proof is recorded", || fs::read_to_string(&record).unwrap().contains("proved:true"));
    for lost in [false, true] {
        daemon.signal(Signal::KILL);
        daemon.wait();
        if lost {
            fs::remove_file(site.path().join("state/registry.ron")).unwrap();
        }
        daemon = site.start();
        site.wait_for("a", "is adopted", |agent| agent["pid"] == u64::from(pid));
        assert_eq!(post(port, pid, ""), 409, "lost: {lost}");
    }
}

#[test]
fn one_start_at_a_time_starts_all_agents() {
    let site = daemon_dir(0, &[]);
    let entry = |id: usize| {
        format!("id: a-{id}, binary_path: /bin/sleep, args: ['1000'], health_check: {{ heartbeat_timeout: 0 }}")
    };
    configure(&site, 0, &(0..20).map(entry).collect::<Vec<_>>());
    let path = site.path().join("daemon.yaml");
    let yaml = fs::read_to_string(&path).unwrap();
    fs::write(&path, yaml.replace("work_dir: state,", "work_dir: state, start_limit: 1,")).unwrap();
    let daemon = site.start();
    let ids: Vec<String> = (0..20).map(|id| format!("a-{id}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let before = running(&site, &ids);
    fs::write(&path, yaml.replace("work_dir: state,", "work_dir: state, start_limit: 2,")).unwrap();
    daemon.signal(Signal::HUP);
    assert_eq!(site.ask(&["restart", "a-0"]).status.code(), Some(0));
    site.wait_for("a-0", "runs anew", |agent| agent["state"] == "running" && agent["pid"] != before[0]);
    for refused in ["0", "1001", "-1", "many"] {
        fs::write(&path, yaml.replace("work_dir: state,", &format!("work_dir: state, start_limit: {refused},")))
            .unwrap();
        assert_eq!(site.ask(&["validate"]).status.code(), Some(78), "{refused}");
    }
}

/// The program of a helper that leaves its session, its parent and its environment's shell, but keeps the secret.
const HELPER: &str = "(setsid sh -c 'echo $$ >helper; exec sleep 1000' &)\nwhile [ ! -s helper ]; do sleep 0.01; done";

#[requires("root")]
#[test]
fn a_helper_of_an_agent_with_a_user_is_found_by_the_next_daemon_and_a_thief_of_the_secret_is_not() {
    let site = daemon_dir(0, &[]);
    fs::set_permissions(site.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let script = super::setup::stand_in(&site, "tree", &format!("{HELPER}\nexec sleep 2000"), ", user: bin");
    configure(&site, 0, &[format!("{script}, health_check: {{ heartbeat_timeout: 0 }}")]);
    let mut daemon = site.start();
    let main = running(&site, &["tree"])[0];
    let helper = || fs::read_to_string(site.path().join("state/agents/tree/helper")).unwrap_or_default();
    wait_until("the helper runs", || helper().ends_with('\n'));
    let helper: u32 = helper().trim().parse().unwrap();
    daemon.signal(Signal::KILL);
    daemon.wait();
    // Another user who has learned the secret.
    let mut thief = Command::new("setpriv");
    thief.args(["--reuid=games", "--clear-groups", "sleep", "3000"]).env("OPS_AGENT_START_SECRET", start_secret(main));
    let mut thief = thief.spawn().unwrap();
    super::setup::kill(main);
    let _next = site.start();
    site.wait_for("tree", "runs anew", |agent| agent["state"] == "running" && agent["pid"] != main);
    assert!(!is_there(helper), "what the earlier start left is stopped before the next");
    assert!(is_there(thief.id()), "the process of another user was not touched");
    thief.kill().unwrap();
    thief.wait().unwrap();
}
