//! The limits that the daemon raises for itself, and those that its agents inherit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use ops_http::server::ServerLimits;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::agent::wait_until;
use crate::support::daemon::DaemonDir;
use crate::support::daemon_api::DaemonApi;
use crate::support::http::{Wire, get};

/// One more connection than an agent's API accepts from loopback.
const CONNECTIONS: usize = 513;

#[test]
fn the_daemon_keeps_more_connections_from_loopback_than_an_agent() {
    let daemon_dir = DaemonDir::new(&[]);
    let mut daemon = daemon_dir.start();
    let address = ([127, 0, 0, 1], daemon.port()).into();
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|_| Wire::to(address)).collect();
    // A full server closes an idle connection to make room for the next. So every connection has to answer again after all
    // have been accepted.
    for round in ["first", "second"] {
        for (number, wire) in wires.iter_mut().enumerate() {
            wire.send("GET /health HTTP/1.1\r\nhost: daemon\r\n\r\n");
            let reply = wire.reply_if_any().unwrap_or_else(|| panic!("connection {number} is closed, {round} request"));
            assert_eq!(reply.status, 200, "connection {number}, {round} request");
        }
    }
}

#[test]
fn answers_that_their_peers_do_not_read_leave_room_for_others() {
    let limits = ServerLimits { all_responses_bytes: 1, ..ServerLimits::of_daemon() };
    // An answer of 9 MB. The buffers of the kernel take about 4 MB of it.
    let api = DaemonApi::with_limits(12_000, None, limits);
    let mut stuck = Wire::to(api.http);
    stuck.send("GET /agents HTTP/1.1\r\nhost: daemon\r\n\r\n");
    let head = stuck.head().expect("an answer").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "one answer always has room: {head}");
    let whole = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let refused = get(api.http, "/agents");
    assert_eq!((refused.status, refused.code().as_str()), (503, "UNAVAILABLE"), "{}", refused.body);
    assert_eq!(get(api.http, "/health").status, 200, "small answers are never refused");
    wait_until("the peer that does not read loses its connection", || get(api.http, "/agents").status == 200);
    assert!(whole.is_some_and(|whole: usize| stuck.end() < whole), "its answer is cut off");
}

#[test]
fn the_daemon_may_open_more_files_than_its_agents() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("agent.sh");
    let ready = directory.path().join("ready");
    // The limit is set right after the start of the process, so the script polls it.
    let text = "#!/bin/sh\nuntil [ $(ulimit -S -n) = 256 ]; do sleep 0.01; done\necho so >ready\nexec sleep 1000\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "daemon: {{ work_dir: state, http: {{ port: 0 }} }}\nagents:\n  - id: script\n    binary_path: {}\n    \
         work_dir: {}\n    health_check: {{ heartbeat_timeout: 0 }}\n",
        script.display(),
        directory.path().display(),
    );
    fs::write(directory.path().join("daemon.yaml"), config).unwrap();
    let run = format!("ulimit -S -n 256; exec {} run --config daemon.yaml", env!("CARGO_BIN_EXE_daemon"));
    let mut daemon =
        Command::new("/bin/sh").args(["-c", &run]).current_dir(directory.path()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the agent has the limit that it would have without a daemon", || ready.exists());
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: u64 = line.split_ascii_whitespace().nth(3).unwrap().parse().unwrap();
    assert!(soft > 256, "{line}");
    kill_process(Pid::from_child(&daemon), Signal::INT).unwrap();
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}
