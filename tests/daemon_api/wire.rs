//! The JSON of the daemon's answers, byte for byte. Times, counts of seconds, pids and texts for people are masked.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use super::heartbeat;
use crate::support::daemon_api::DaemonApi;
use crate::support::http::{DEADLINE, exchange};

/// Keys whose numbers depend on the clock or the process.
const NUMBERS: [&str; 5] = ["for_s", "looked_s", "next_start_s", "uptime_s", "pid"];
/// Keys whose strings are times, versions, or sentences for people.
const TEXTS: [&str; 10] =
    ["now", "since", "at", "last_heartbeat", "why", "detail", "cause", "error", "message", "version"];

/// The text with each masked value as `#`. A null stays.
fn masked(text: &str) -> String {
    let mut masked = text.to_owned();
    for key in NUMBERS {
        masked = mask(&masked, &format!("\"{key}\":"), |rest| {
            rest.bytes().take_while(|byte| byte.is_ascii_digit() || b".e-".contains(byte)).count()
        });
    }
    for key in TEXTS {
        masked = mask(&masked, &format!("\"{key}\":\""), string_length);
    }
    masked
}

/// The length of a JSON string up to its closing quote.
fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    let ends = |byte: u8| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    };
    rest.bytes().position(ends).expect("the string ends")
}

fn mask(text: &str, key: &str, length: impl Fn(&str) -> usize) -> String {
    let mut pieces = text.split(key);
    let mut masked = pieces.next().unwrap_or_default().to_owned();
    for rest in pieces {
        let value = length(rest);
        masked.push_str(key);
        masked.push_str(if value > 0 { "#" } else { "" });
        masked.push_str(&rest[value..]);
    }
    masked
}

/// Two agents: one has sent a heartbeat, the process of the other has ended.
fn api() -> DaemonApi {
    let api = DaemonApi::start(2);
    http(&api, "POST", "/heartbeat", &heartbeat("agent-0", 1000, 1));
    api.with_control(|control| control.end(1));
    api
}

fn http(api: &DaemonApi, method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {length}\r\n\r\n{body}", api.http);
    let reply = exchange(api.http, request);
    format!("{method} {path}\n{} {}\n", reply.status, masked(&reply.body))
}

#[test]
fn http_answers_keep_their_bytes() {
    let api = api();
    let mut all = String::new();
    for (method, path, body) in [
        ("GET", "/agents", String::new()),
        ("GET", "/agents/agent-1", String::new()),
        ("GET", "/agents/agent-9", String::new()),
        ("GET", "/health", String::new()),
        ("GET", "/sd", String::new()),
        ("GET", "/elsewhere", String::new()),
        ("PUT", "/agents", String::new()),
        ("POST", "/heartbeat", heartbeat("agent-0", 1000, 1)),
        ("POST", "/heartbeat", heartbeat("agent-9", 1000, 1)),
        ("POST", "/heartbeat", heartbeat("agent-0", 77, 1)),
        ("POST", "/heartbeat", "{}".to_owned()),
        ("POST", "/agents/agent-0/stop", String::new()),
        ("POST", "/agents/agent-0/start", String::new()),
        ("POST", "/agents/agent-9/stop", String::new()),
    ] {
        all.push_str(&http(&api, method, path, &body));
    }
    insta::assert_snapshot!("http", all);
}

#[test]
fn socket_answers_keep_their_bytes() {
    let api = api();
    let stream = UnixStream::connect(&api.socket).expect("the daemon listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut lines = BufReader::new(stream);
    let mut all = String::new();
    for (method, params) in [
        ("agents", "null".to_owned()),
        ("agent", r#"{"agent_id":"agent-0"}"#.to_owned()),
        ("agent", r#"{"agent_id":"agent-9"}"#.to_owned()),
        ("why", r#"{"agent_id":"agent-1"}"#.to_owned()),
        ("health", "null".to_owned()),
        ("logs", r#"{"agent_id":"agent-0","lines":2}"#.to_owned()),
        ("logs", r#"{"agent_id":"agent-9"}"#.to_owned()),
        ("heartbeat", heartbeat("agent-0", 1000, 1)),
        ("heartbeat", heartbeat("agent-9", 1000, 1)),
        ("heartbeat", heartbeat("agent-0", 77, 1)),
        ("heartbeat", "{}".to_owned()),
        ("stop", r#"{"agent_id":"agent-0"}"#.to_owned()),
        ("start", r#"{"agent_id":"agent-0"}"#.to_owned()),
        ("stop", r#"{"agent_id":"agent-9"}"#.to_owned()),
        ("stop", "{}".to_owned()),
        ("kill", "{}".to_owned()),
    ] {
        let request = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        writeln!(lines.get_mut(), "{request}").expect("the daemon reads");
        let mut answer = String::new();
        lines.read_line(&mut answer).expect("an answer");
        all.push_str(&format!("{method}\n{}", masked(&answer)));
    }
    insta::assert_snapshot!("socket", all);
}
