//! Handshakes that are cut, never end, or are none: the server answers everybody else meanwhile, and forgets them.

use std::time::Duration;

use super::{HTTPS, address, home};
use crate::support::agent::wait_until;
use crate::support::http::Wire;
use crate::support::tls::Client;

fn open_sockets(pid: u32) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    open.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn a_handshake_cut_after_any_of_its_bytes_costs_nothing() {
    let (home, _) = home(HTTPS);
    let mut agent = home.start();
    let address = address(&mut agent);
    let client = Client::new(home.path(), "ca", None);
    let hello = client.hello("localhost");
    let before = open_sockets(agent.pid());
    for length in (0..hello.len()).step_by(7) {
        let mut wire = Wire::to(address);
        wire.send(&hello[..length]);
        wire.finish();
        // Nothing, or an alert.
        let _ = wire.end();
    }
    assert_eq!(client.ask(address, "GET", "/health").unwrap().0, 200);
    wait_until("all are closed", || open_sockets(agent.pid()) <= before);
    assert_eq!(super::complaint(&mut agent), "the client closed the connection in the middle of the TLS handshake");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn handshakes_that_never_end_lock_nobody_out_and_are_ended() {
    let limits = "limits: { head_timeout: 2s, connections_loopback: 50 }";
    let (home, _) = home(&HTTPS.replace("port: 0", &format!("port: 0, {limits}")));
    let mut agent = home.start();
    let address = address(&mut agent);
    let client = Client::new(home.path(), "ca", None);
    let hello = client.hello("localhost");
    let mut waiting: Vec<Wire> = (0..200)
        .map(|at| {
            let mut wire = Wire::to(address);
            wire.send(&hello[..1 + at % (hello.len() - 1)]);
            wire
        })
        .collect();
    // More than there is room for, and still there is room.
    assert_eq!(client.ask(address, "GET", "/health").unwrap().0, 200);
    for wire in &mut waiting {
        let _ = wire.end();
    }
    assert_eq!(super::complaint(&mut agent), "the client has begun a TLS handshake and not gone on with it");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_handshake_under_way_delays_no_stop() {
    let (home, _) = home(HTTPS);
    let mut agent = home.start();
    let mut wire = Wire::to(address(&mut agent));
    wire.send([0x16, 3, 1]);
    let mut silent = Wire::to(address(&mut agent));
    let begun = std::time::Instant::now();
    assert_eq!(agent.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "half of what a handshake may take");
    let _ = (wire.end(), silent.end());
}
