//! What a peer of the HTTP API sees.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use ops_runtime::clock;

use super::trial::{Trial, ask, is_silent, rest};
use crate::support::agent::wait_until;
use crate::support::http::{Wire, get};

/// An agent that does this from its readiness on.
fn does(act: &str) -> Trial {
    let trial = Trial::start(&format!("{{ from: ready, act: {act} }}"));
    trial.begun(0, act.trim_start_matches("{ ").split([':', ' ']).next().unwrap());
    trial
}

#[test]
fn a_closed_listener_refuses_connections_and_ends_open_ones() {
    let trial = Trial::start("{ from: ready, at: 300ms, act: http_closed }");
    // On a slow machine, the step may have begun already.
    if let Ok(mut open) = TcpStream::connect(trial.address()) {
        open.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert!(open.read(&mut [0]).is_ok_and(|length| length == 0), "the agent closes it");
    }
    trial.begun(0, "http_closed");
    wait_until("the port is closed", || {
        TcpStream::connect(trial.address()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

#[test]
fn a_silent_port_accepts_and_never_answers() {
    let trial =
        Trial::start("{ from: ready, at: 300ms, act: http_silent }\n{ from: ready, at: 900ms, act: ignore_sigterm }");
    trial.ready();
    let mut before = TcpStream::connect(trial.address()).unwrap();
    trial.begun(0, "http_silent");
    before.write_all(b"GET /health HTTP/1.1\r\nhost: agent\r\n\r\n").unwrap();
    let during = ask(trial.address());
    trial.begun(1, "ignore_sigterm");
    assert!(is_silent(&before), "a connection from before the step");
    assert!(is_silent(&during));
}

#[test]
fn a_late_answer_is_the_true_one() {
    let trial = does("{ http_slow: { after: 300ms } }");
    let before = clock::monotonic();
    let reply = get(trial.address(), "/health");
    assert_eq!((reply.status, &reply.json()["status"]), (200, &"healthy".into()));
    assert!(clock::monotonic() - before >= Duration::from_millis(300));
}

#[test]
fn an_error_garbage_and_a_stalled_body_are_what_they_are_called() {
    let error = does("{ http_error: { status: 502 } }");
    assert_eq!(get(error.address(), "/health").status, 502);
    let garbage = does("http_garbage").answer();
    assert!(!garbage.is_empty() && !garbage.starts_with("HTTP"), "{garbage:?}");
    let stalled = does("http_stalled");
    let mut wire = Wire::to(stalled.address());
    wire.send("GET /health HTTP/1.1\r\nhost: agent\r\n\r\n");
    let answer = wire.until("{\"status\":");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("content-length: 1000"), "{answer:?}");
}

#[test]
fn a_trickle_is_one_byte_per_second() {
    let trial = does("http_trickle");
    let mut stream = ask(trial.address());
    let mut bytes = [0; 2];
    stream.read_exact(&mut bytes[..1]).unwrap();
    let first = clock::monotonic();
    stream.read_exact(&mut bytes[1..]).unwrap();
    assert!(clock::monotonic() - first >= Duration::from_millis(900));
    assert_eq!(&bytes, b"HT");
}

#[test]
fn a_degraded_agent_answers_200_while_the_plan_says_so() {
    let trial = Trial::start("{ from: ready, act: degrade }\n{ from: ready, act: http_false_ok }");
    trial.begun(1, "http_false_ok");
    trial.wait_for_status("it is degraded", |status| status.state.as_str() == "degraded");
    wait_until("it answers 200", || {
        let reply = get(trial.address(), "/health");
        (reply.status, &reply.json()["state"]) == (200, &"degraded".into())
    });
}

#[test]
fn without_an_act_the_api_is_as_ever() {
    let trial = Trial::start("{ at: 1h, act: panic }");
    trial.ready();
    let mut wire = Wire::to(trial.address());
    for path in ["/health", "/readyz", "/nonsense", "/metrics"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: agent\r\n\r\n"));
        assert_eq!(wire.reply().status, if path == "/nonsense" { 404 } else { 200 }, "{path}");
    }
    let mut half = TcpStream::connect(trial.address()).unwrap();
    half.write_all(b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
    half.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(rest(half).starts_with("HTTP/1.0 200 OK"));
    assert_eq!(trial.status().unwrap().http, Some(trial.address()), "the port of the configuration");
}
