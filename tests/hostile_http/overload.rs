//! More peers than the server has slots, and how a drain ends their connections.

use std::time::Duration;

use ops_http::server::ServerLimits;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::{GET, short};
use crate::support::api::ApiServer;
use crate::support::http::{Wire, get};

#[test]
fn a_thousand_idle_or_half_sent_connections_do_not_lock_out_a_probe() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("up to the hard limit");
    let server = ApiServer::start(ServerLimits::default());
    for opening in
        ["", GET, "GET /health HTTP/1.1\r\nhost:", "GET /health HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"]
    {
        let mut wires = Vec::new();
        for _ in 0..1000 {
            let mut wire = Wire::to(server.address());
            wire.send(opening);
            wires.push(wire);
        }
        for _ in 0..20 {
            assert_eq!(get(server.address(), "/health").status, 200, "among 1000 of {opening:?}");
        }
        // The oldest connection was closed for the newest.
        assert!(!wires.remove(0).rest().contains("503"));
    }
}

#[test]
fn requests_in_progress_keep_their_slots_and_the_next_peer_gets_503() {
    let server = short(|limits| limits.connections_loopback = 2);
    let ask = || {
        let mut wire = Wire::to(server.address());
        wire.send("POST /reload HTTP/1.1\r\nhost: agent\r\n\r\n");
        (wire, server.reloads.recv_blocking().expect("the request has arrived"))
    };
    let (mut first, one) = ask();
    let (mut second, two) = ask();
    // The client sends nothing. Unread data would reset the connection before the answer is read.
    let turned_away = Wire::to(server.address()).reply();
    assert_eq!((turned_away.status, turned_away.code().as_str()), (503, "UNAVAILABLE"));
    for request in [one, two] {
        request.reply(Ok(std::time::SystemTime::UNIX_EPOCH));
    }
    assert_eq!((first.reply().status, second.reply().status), (200, 200));
    assert_eq!(get(server.address(), "/health").status, 200, "there is room again");
}

#[test]
fn a_drain_closes_idle_connections_at_once_and_lets_requests_finish() {
    let mut server = ApiServer::start(ServerLimits::default());
    let mut idle = Wire::to(server.address());
    idle.send(GET);
    assert_eq!(idle.reply().status, 200);
    let mut silent = Wire::to(server.address());
    let mut half_sent = Wire::to(server.address());
    half_sent.send("GET /health HTTP/1.1\r\nho");
    let mut in_flight = Wire::to(server.address());
    in_flight.send("POST /reload HTTP/1.1\r\nhost: agent\r\n\r\n");
    let request = server.reloads.recv_blocking().expect("the request has arrived");

    server.served.begin_drain(Duration::from_secs(600));
    assert_eq!((idle.rest(), silent.rest(), half_sent.rest()), Default::default());
    request.reply(Ok(std::time::SystemTime::UNIX_EPOCH));
    let reply = in_flight.reply();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(server.served.drained(), 0, "nothing was cut off");
    assert!(std::net::TcpStream::connect(server.address()).is_err(), "the port is closed");
}

#[test]
fn a_drain_cuts_off_requests_after_its_grace_period() {
    let mut server = ApiServer::start(ServerLimits::default());
    let mut in_flight = Wire::to(server.address());
    in_flight.send("POST /reload HTTP/1.1\r\nhost: agent\r\n\r\n");
    let _never_answered = server.reloads.recv_blocking().expect("the request has arrived");
    server.served.begin_drain(Duration::from_millis(50));
    assert_eq!(server.served.drained(), 1);
    assert_eq!(in_flight.rest(), "");
}
