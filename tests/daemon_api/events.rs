//! `GET /events` and `GET /agents/ID/logs`: streams of changes and of output.

use std::net::SocketAddr;

use serde_json::Value;

use super::heartbeat;
use crate::support::daemon_api::DaemonApi;
use crate::support::http::{Reply, Wire, exchange, get, request};

/// The limit of open streams.
const STREAMS: usize = 64;

fn ask(address: SocketAddr, path: &str) -> Wire {
    let mut wire = Wire::to(address);
    wire.send(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n"));
    wire
}

fn with_token(api: &DaemonApi, path: &str, token: &str) -> Reply {
    request(api.http, "GET", path, &format!("authorization: Bearer {token}\r\n"))
}

/// The data of the first event with this name.
fn data(text: &str, name: &str) -> Value {
    let (_, after) = text.split_once(&format!("event: {name}\ndata: ")).unwrap_or_else(|| panic!("{name} in {text}"));
    serde_json::from_str(after.split_once('\n').expect("a whole line").0).expect("JSON")
}

#[test]
fn a_stream_begins_with_the_whole_state_and_then_has_changes_only() {
    let api = DaemonApi::start(3);
    let mut wire = ask(api.http, "/events");
    let begin = wire.until("event: complete\ndata: {}\n\n");
    assert!(
        begin.starts_with("HTTP/1.1 200 OK\r\n") && begin.contains("content-type: text/event-stream\r\n"),
        "{begin}"
    );
    let hello = data(&begin, "hello");
    assert!(hello["host"].is_string() && hello["health"]["uptime_s"].is_number(), "{hello}");
    assert_eq!((&hello["agents"], begin.matches("event: agent\n").count()), (&3.into(), 3), "{begin}");
    let agent = data(&begin, "agent");
    assert_eq!(agent["agent_id"], "agent-0");
    assert!(agent["signals"].is_array() && agent.get("history").is_none(), "{agent}");

    api.with_control(|control| control.end(1));
    let after = wire.until("}\n\n");
    let change = data(&after, "change");
    assert_eq!((&change["agent_id"], change["state"].is_string()), (&"agent-1".into(), true), "{after}");
    assert!(change.get("heartbeats").is_none() && change.get("enabled").is_none(), "{change}");

    api.with_control(|control| control.refuse_reload("`agnets` is not a key"));
    assert!(data(&wire.until("agnets"), "daemon")["health"]["reload_refused"]["reason"].is_string());

    api.with_control(|control| control.remove_last());
    assert_eq!(
        data(&wire.until("event: gone\ndata: {\"agent_ids\":[\"agent-2\"]}\n"), "gone")["agent_ids"][0],
        "agent-2"
    );
}

#[test]
fn a_second_stream_gets_the_present_state() {
    let api = DaemonApi::start(2);
    let mut first = ask(api.http, "/events");
    first.until("event: complete");
    let body = heartbeat("agent-0", 1000, 1);
    exchange(api.http, format!("POST /heartbeat HTTP/1.1\r\nhost: d\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    let state = data(&ask(api.http, "/events").until("event: complete"), "agent");
    assert_eq!(
        (&state["agent_id"], &state["state"], &state["heartbeats"]),
        (&"agent-0".into(), &"running".into(), &1.into())
    );
    assert_eq!(data(&first.until("}\n\n"), "change")["state"], "running");
}

#[test]
fn the_number_of_streams_is_limited_and_a_reader_that_goes_frees_its_place() {
    for path in ["/events", "/agents/agent-0/logs?follow=true"] {
        let api = DaemonApi::start(1);
        let mut open: Vec<Wire> = (0..STREAMS).map(|_| ask(api.http, path)).collect();
        open.iter_mut().for_each(|wire| drop(wire.until("event: ")));
        let refused = ask(api.http, path).reply();
        assert_eq!((refused.status, refused.code().as_str()), (503, "UNAVAILABLE"), "{path}");
        open.pop();
        while ask(api.http, path).head().is_some_and(|head| head.starts_with("HTTP/1.1 503")) {}
        assert_eq!(get(api.http, "/health").status, 200, "{path}");
    }
}

#[test]
fn a_stream_ends_at_once_when_the_daemon_stops() {
    let api = DaemonApi::start(1);
    let mut open = [ask(api.http, "/events"), ask(api.http, "/agents/agent-0/logs?follow")];
    open.iter_mut().for_each(|wire| drop(wire.until("event: ")));
    drop(api);
    for wire in &mut open {
        wire.end();
    }
}

#[test]
fn streams_and_output_need_the_token() {
    let api = DaemonApi::with_token(1, Some("s3cret"));
    api.with_control(|control| {
        control.end(0);
        control.set_output(0, "the password is 1234");
    });
    for path in ["/events", "/agents/agent-0/logs", "/agents/agent-0/logs?follow"] {
        assert_eq!(get(api.http, path).status, 401, "{path}");
        assert_eq!(with_token(&api, path, "wrong").status, 401, "{path}");
    }
    assert_eq!(with_token(&api, "/agents/agent-0/logs?lines=2", "s3cret").json()["lines"][1], "agent-0 line 1");
    for path in ["/agents", "/agents/agent-0"] {
        let open = get(api.http, path);
        assert!(open.status == 200 && !open.body.contains("password"), "{path}: {open:?}");
        assert!(with_token(&api, path, "s3cret").body.contains("password"), "{path}");
    }
    let foreign = "sec-fetch-site: cross-site\r\n";
    let page = DaemonApi::start(1);
    assert_eq!(request(page.http, "GET", "/events", foreign).status, 403);
}

#[test]
fn logs_are_returned_with_their_limits() {
    let api = DaemonApi::start(1);
    let local = |path: &str| ask(api.http, path).reply();
    assert_eq!(local("/agents/agent-0/logs").json()["lines"].as_array().map(Vec::len), Some(100));
    assert_eq!(local("/agents/agent-0/logs?lines=3&follow=false").json()["lines"].as_array().map(Vec::len), Some(3));
    for path in ["/agents/agent-0/logs?lines=0", "/agents/agent-0/logs?follow=2", "/agents/agent-0/logs?x"] {
        assert_eq!((local(path).status, local(path).code().as_str()), (400, "INVALID_REQUEST"), "{path}");
    }
    for path in ["/agents/unknown/logs", "/agents/unknown/logs?follow"] {
        assert_eq!((local(path).status, local(path).code().as_str()), (404, "NOT_FOUND"), "{path}");
    }
    let mut stream = ask(api.http, "/agents/agent-0/logs?lines=2&follow");
    assert_eq!(data(&stream.until("}\n\n"), "output")["lines"][1], "agent-0 line 1");
    let head = request(api.http, "HEAD", "/agents/agent-0/logs?follow", &format!("x-host: {}\r\n", api.http));
    assert_eq!(head.body, "", "HEAD has no body");
}
