//! What a daemon receives.

use std::time::Duration;

use ops_protocol::Timestamp;
use ops_runtime::clock;
use serde_json::Value;

use super::trial::Trial;
use crate::support::agent::wait_until;
use crate::support::peer::{Behaviour, Peer};

/// A daemon, and an agent that reports to it.
fn reports(act: &str) -> (Peer, Trial) {
    let daemon = Peer::http();
    let heartbeat = format!("heartbeat: {{ url: '{}', interval: 200ms }}\n", daemon.url());
    let trial = Trial::configured(&heartbeat, &format!("{{ from: ready, act: {act} }}"));
    trial.begun(0, act.trim_start_matches("{ ").split([':', ' ']).next().unwrap());
    (daemon, trial)
}

/// Waits for a heartbeat that is so.
fn receives(daemon: &Peer, is_so: impl Fn(&Value) -> bool) {
    daemon.wait_until(|received| received.iter().any(|heartbeat| is_so(&heartbeat.body)));
}

fn time(heartbeat: &Value) -> Timestamp {
    heartbeat["timestamp"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_changed_heartbeat_is_valid_and_wrong() {
    let hour = Duration::from_secs(3600);
    let (daemon, _trial) = reports("{ heartbeat_pid: { pid: 7 } }");
    receives(&daemon, |heartbeat| heartbeat["pid"] == 7);
    let (daemon, _trial) = reports("{ heartbeat_id: { agent_id: other } }");
    receives(&daemon, |heartbeat| heartbeat["agent_id"] == "other");
    let (daemon, _trial) = reports("{ heartbeat_incarnation: { incarnation: 18446744073709551615 } }");
    receives(&daemon, |heartbeat| heartbeat["incarnation"] == u64::MAX);
    let (daemon, _trial) = reports("{ heartbeat_clock: { by: 2h } }");
    receives(&daemon, |heartbeat| time(heartbeat).0 > clock::wall() + hour);
    let (daemon, _trial) = reports("{ heartbeat_clock: { by: 2h, direction: behind } }");
    receives(&daemon, |heartbeat| time(heartbeat).0 < clock::wall() - hour);
}

#[test]
fn a_doubled_heartbeat_arrives_twice_and_a_late_one_is_old() {
    let (daemon, _trial) = reports("heartbeat_doubled");
    daemon.wait_until(|received| received.windows(2).any(|pair| pair[0].body == pair[1].body));
    let (daemon, trial) = reports("{ heartbeat_late: { by: 700ms } }");
    receives(&daemon, |heartbeat| {
        clock::wall().duration_since(time(heartbeat).0).unwrap() >= Duration::from_millis(700)
    });
    assert_eq!(trial.status().unwrap().state.as_str(), "running", "to the agent, they are delivered");
}

#[test]
fn stopped_heartbeats_do_not_arrive() {
    let daemon = Peer::http();
    let heartbeat = format!("heartbeat: {{ url: '{}', interval: 200ms }}\n", daemon.url());
    let trial = Trial::configured(
        &heartbeat,
        "{ from: ready, act: heartbeat_stopped }\n{ from: ready, at: 300ms, act: ignore_sigterm }\n\
         { from: ready, at: 1300ms, act: leak_descriptors }",
    );
    trial.begun(1, "ignore_sigterm");
    let before = daemon.received().len();
    trial.begun(2, "leak_descriptors");
    assert!(daemon.received().len() <= before + 1, "five were due, and one may have been on its way");
}

#[test]
fn a_malformed_heartbeat_is_half_of_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let heartbeat = format!("heartbeat: {{ socket_path: '{}', interval: 200ms }}\n", path.display());
    let _trial = Trial::configured(&heartbeat, "act: heartbeat_malformed");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(listener.accept().unwrap().0), &mut line).unwrap();
    assert!(line.starts_with("{\"agent_id\":\"tested\"") && line.ends_with('\n'), "{line}");
    assert!(serde_json::from_str::<Value>(&line).is_err(), "{line}");
}

#[test]
fn a_huge_heartbeat_has_the_size_of_the_plan_and_a_trickle_its_pace() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/heartbeat", listener.local_addr().unwrap());
    let heartbeat = format!("heartbeat: {{ url: '{url}', interval: 200ms }}\n");
    let _huge = Trial::configured(&heartbeat, "act: { heartbeat_huge: { mib: 3 } }");
    let mut peer = listener.accept().unwrap().0;
    let text = read(&mut peer, 3 << 20);
    assert!(text.starts_with("POST /heartbeat HTTP/1.1\r\n") && text.contains("content-length: 3145728\r\n"));
    assert!(text.ends_with("xxxx"));

    let trickle = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/heartbeat", trickle.local_addr().unwrap());
    let heartbeat = format!("heartbeat: {{ url: '{url}', interval: 200ms }}\n");
    let _trickle = Trial::configured(&heartbeat, "act: heartbeat_trickle");
    let mut peer = trickle.accept().unwrap().0;
    let began = clock::monotonic();
    assert_eq!(read(&mut peer, 3), "POS");
    assert!(clock::monotonic() - began >= Duration::from_millis(1900));
}

fn read(peer: &mut std::net::TcpStream, length: usize) -> String {
    peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut bytes = vec![0; length];
    std::io::Read::read_exact(peer, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_daemon_that_hangs_does_not_hold_an_act_back() {
    let (daemon, trial) = reports("heartbeat_malformed");
    daemon.behave(Behaviour::Hang);
    trial.terminate();
    wait_until("it ends", || trial.agent.borrow_mut().wait_within(Duration::ZERO).is_some());
}
