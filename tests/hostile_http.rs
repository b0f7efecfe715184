//! What the HTTP server does with peers that are slow, broken or hostile. All of it while `/health` goes on to answer.

use std::time::Duration;

use ops_agent::net::server::Limits;

use crate::support::api::ApiServer;
use crate::support::http::{Wire, exchange, get};

const GET: &str = "GET /health HTTP/1.1\r\nhost: agent\r\n\r\n";

#[test]
fn a_peer_that_has_finished_sending_still_gets_its_answer() {
    let server = ApiServer::start(Limits::default());
    let mut wire = Wire::to(server.address());
    wire.send(GET);
    wire.finish();
    assert_eq!(wire.reply().status, 200);
    assert_eq!(wire.rest(), "");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = ApiServer::start(Limits::default());
    let mut wire = Wire::to(server.address());
    wire.send(format!("{GET}GET /nowhere HTTP/1.1\r\nhost: agent\r\n\r\n").repeat(20));
    for _ in 0..20 {
        assert_eq!(wire.reply().status, 200);
        assert_eq!(wire.reply().status, 404);
    }
}

#[test]
fn a_drain_closes_the_idle_at_once_and_lets_the_others_finish() {
    let mut server = ApiServer::start(Limits::default());
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
    request.answer(Ok(std::time::SystemTime::UNIX_EPOCH));
    let reply = in_flight.reply();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(server.served.drained(), 0, "nothing was cut off");
    assert!(std::net::TcpStream::connect(server.address()).is_err(), "nobody listens any more");
}

#[test]
fn a_drain_cuts_off_what_outlasts_its_grace() {
    let mut server = ApiServer::start(Limits::default());
    let mut in_flight = Wire::to(server.address());
    in_flight.send("POST /reload HTTP/1.1\r\nhost: agent\r\n\r\n");
    let _never_answered = server.reloads.recv_blocking().expect("the request has arrived");
    server.served.begin_drain(Duration::from_millis(50));
    assert_eq!(server.served.drained(), 1);
    assert_eq!(in_flight.rest(), "");
}

#[test]
fn a_byte_that_is_not_ascii_is_refused_and_kills_nobody() {
    let server = ApiServer::start(Limits::default());
    for value in [&b"\xff"[..], "ü".as_bytes(), b"a\x80b"] {
        let mut bytes = b"GET /health HTTP/1.1\r\nhost: agent\r\nx: ".to_vec();
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n\r\n");
        let reply = exchange(server.address(), bytes);
        assert_eq!((reply.status, reply.code().as_str()), (400, "INVALID_REQUEST"), "{value:?}");
    }
    assert_eq!(get(server.address(), "/health").status, 200);
}
