//! Handshakes that are cut, endless or invalid: the server closes them, and answers other clients meanwhile.

use super::{HTTPS, address, agent_dir};
use crate::support::agent::{AgentDir, wait_until};
use crate::support::http::Wire;
use crate::support::pki::Ca;
use crate::support::tls::Client;

/// An HTTPS API with other limits.
fn with_limits(limits: &str) -> (AgentDir, Ca) {
    agent_dir(&HTTPS.replace("port: 0", &format!("port: 0, limits: {{ {limits} }}")))
}

fn open_sockets(pid: u32) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    open.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn a_handshake_cut_at_any_byte_leaves_the_server_serving() {
    let (agent_dir, _) = agent_dir(HTTPS);
    let mut agent = agent_dir.start();
    let address = address(&mut agent);
    let client = Client::new(agent_dir.path(), "ca", None);
    let hello = client.hello("localhost");
    let before = open_sockets(agent.pid());
    for length in (0..hello.len()).step_by(7) {
        let mut wire = Wire::to(address);
        wire.send(&hello[..length]);
        wire.finish();
        // The server sends nothing or an alert.
        let _ = wire.end();
    }
    assert_eq!(client.ask(address, "GET", "/health").unwrap().0, 200);
    wait_until("all are closed", || open_sockets(agent.pid()) <= before);
    assert_eq!(super::handshake_failure(&mut agent), "the client closed the connection during the TLS handshake");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn endless_handshakes_do_not_lock_out_other_clients() {
    let (agent_dir, _) = with_limits("head_timeout: 1m, connections_loopback: 50");
    let mut agent = agent_dir.start();
    let address = address(&mut agent);
    let client = Client::new(agent_dir.path(), "ca", None);
    let hello = client.hello("localhost");
    let waiting: Vec<Wire> = (0..200)
        .map(|at| {
            let mut wire = Wire::to(address);
            wire.send(&hello[..1 + at % (hello.len() - 1)]);
            wire
        })
        .collect();
    // More handshakes than slots do not block other clients.
    assert_eq!(client.ask(address, "GET", "/health").unwrap().0, 200);
    assert_eq!(agent.stop(), Some(0));
    // Handshakes that were closed for another peer, or by the stop, do not count as timed out.
    let log = agent.rest_of_the_log();
    let handshake_failure = log.iter().find(|line| line["message"] == "TLS handshake with a client failed");
    assert!(handshake_failure.is_none(), "{handshake_failure:?}");
    drop(waiting);
}

#[test]
fn endless_handshakes_are_closed_at_the_timeout() {
    let (agent_dir, _) = with_limits("head_timeout: 1s");
    let mut agent = agent_dir.start();
    let mut waiting = [&[0x16][..], &[0x16, 3, 1], &[0x16, 3, 1, 2, 0, 1]].map(|bytes| {
        let mut wire = Wire::to(address(&mut agent));
        wire.send(bytes);
        wire
    });
    for wire in &mut waiting {
        assert_eq!(wire.end(), 0);
    }
    assert_eq!(super::handshake_failure(&mut agent), "the client did not finish the TLS handshake in time");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_handshake_in_progress_does_not_delay_a_stop() {
    // Longer than the grace period, so a stop that waits for a handshake does not end cleanly.
    let (agent_dir, _) = with_limits("head_timeout: 1m");
    let mut agent = agent_dir.start();
    let mut wire = Wire::to(address(&mut agent));
    wire.send([0x16, 3, 1]);
    let mut silent = Wire::to(address(&mut agent));
    assert_eq!(agent.stop(), Some(0));
    let _ = (wire.end(), silent.end());
}
