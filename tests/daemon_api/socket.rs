//! The Unix socket.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ops_agent::testing::daemon::api::socket::SocketFile;
use ops_agent::testing::daemon::client::{ClientError, call};
use ops_protocol::Command as AgentCommand;
use ops_protocol::views::Check;
use serde_json::{Value, json};
use test_requirements::requires;

use super::heartbeat;
use crate::support::daemon_api::DaemonApi;
use crate::support::http::{DEADLINE, exchange, get};

/// A connection on which the test writes each line.
struct Lines(BufReader<UnixStream>);

impl Lines {
    fn to(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the daemon listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, text: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(text.as_ref()).expect("the daemon reads");
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    fn request(&mut self, text: impl AsRef<[u8]>) -> Value {
        self.send(text);
        self.send("\n");
        self.receive()
    }
}

fn rpc(id: u32, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

#[test]
fn one_connection_carries_requests_and_bare_lines() {
    let api = DaemonApi::start(2);
    let mut lines = Lines::to(&api.socket);
    let ok = lines.request(rpc(1, "heartbeat", &heartbeat("agent-0", 1000, 1)));
    assert_eq!(ok, json!({"jsonrpc": "2.0", "id": 1, "result": {"message": "heartbeat received"}}));
    // Without an agent ID, as the Go agent sends it: the pid identifies the agent. A bare line gets no answer.
    lines.send(
        "{\"pid\":1001,\"status\":\"running\",\"cpu\":1.5,\"memory\":7,\"timestamp\":\"2025-12-05T10:00:00+08:00\"}\n",
    );
    lines.send("{\"pid\":77,\"status\":\"running\",\"timestamp\":\"2025-12-05T10:00:00Z\"}\n\n\r\n");
    lines.send(format!("{}\n", heartbeat("agent-1", 1001, 1)));
    let agent = lines.request(rpc(2, "agent", r#"{"agent_id":"agent-1"}"#));
    assert_eq!((&agent["id"], &agent["result"]["heartbeats"]), (&json!(2), &json!(2)));
    let metrics = get(api.http, "/metrics").body;
    assert!(metrics.contains(r#"ops_daemon_heartbeats_total{result="accepted",transport="socket"} 3"#), "{metrics}");
    assert!(metrics.contains(r#"ops_daemon_heartbeats_total{result="refused",transport="socket"} 1"#), "{metrics}");
}

#[test]
fn an_invalid_request_is_answered_with_a_json_rpc_error_code() {
    let api = DaemonApi::start(1);
    let mut lines = Lines::to(&api.socket);
    for (line, id, code) in [
        ("{".to_owned(), json!(null), -32700),
        ("[]".to_owned(), json!(null), -32600),
        (r#"["2.0",1,"health",null]"#.to_owned(), json!(null), -32600),
        ("7".to_owned(), json!(null), -32600),
        (r#"{"id":3,"method":"agents"}"#.to_owned(), json!(3), -32600),
        (r#"{"jsonrpc":"1.0","id":3,"method":"agents"}"#.to_owned(), json!(3), -32600),
        (rpc(4, "kill", "{}"), json!(4), -32601),
        (rpc(5, "agent", "{}"), json!(5), -32602),
        (rpc(6, "heartbeat", r#"{"pid":1}"#), json!(6), -32602),
        (r#"{"jsonrpc":"2.0","id":"x","method":"stop"}"#.to_owned(), json!("x"), -32602),
        (rpc(7, "agent", r#"{"agent_id":"unknown"}"#), json!(7), -32001),
        (rpc(8, "heartbeat", &heartbeat("unknown", 1, 1)), json!(8), -32001),
        (rpc(9, "heartbeat", &heartbeat("agent-0", 1, 1)), json!(9), -32000),
        (rpc(10, "start", r#"{"agent_id":"agent-0"}"#), json!(10), -32000),
    ] {
        let answer = lines.request(&line);
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{line} → {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
    // A notification gets no answer, so the next answer is to the next request.
    lines.send(format!("{}\n", r#"{"jsonrpc":"2.0","method":"agent","params":{"agent_id":"unknown"}}"#));
    assert_eq!(lines.request(rpc(11, "health", "null"))["id"], 11);
}

/// `data.code` names each error of an invalid heartbeat as HTTP does.
#[test]
fn an_invalid_heartbeat_has_the_same_error_code_over_the_socket_and_http() {
    let api = DaemonApi::start(1);
    let mut lines = Lines::to(&api.socket);
    for (body, code) in [
        ("{}".to_owned(), "INVALID_REQUEST"),
        (heartbeat("agent-0", 0, 1), "INVALID_REQUEST"),
        (heartbeat("not a name", 1000, 1), "INVALID_AGENT_ID"),
        (heartbeat("agent-0", 1000, 1).replace("\"agent_id\":\"agent-0\",", ""), "INVALID_AGENT_ID"),
    ] {
        let over_socket = lines.request(rpc(1, "heartbeat", &body));
        assert_eq!(over_socket["error"]["code"], -32602, "{body}");
        assert_eq!(over_socket["error"]["data"], json!({ "code": code }), "{body}");
        let request =
            format!("POST /heartbeat HTTP/1.1\r\nhost: daemon\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(exchange(api.http, request).code(), code, "{body}");
    }
    let answer = lines.request(rpc(2, "stop", "{}"));
    assert_eq!(answer["error"]["data"], json!({ "code": "INVALID_REQUEST" }), "invalid `params`");
}

#[test]
fn each_method_answers_as_documented() {
    let api = DaemonApi::start(2);
    let ask = |method: &str, params: Value| smol::block_on(call(&api.socket, method, params, DEADLINE));
    assert_eq!(ask("agents", Value::Null).unwrap()["agents"].as_array().unwrap().len(), 2);
    assert_eq!(ask("health", Value::Null).unwrap()["healthy"], true);
    let why = ask("why", json!({"agent_id": "agent-0"})).unwrap();
    assert_eq!(why["signals"].as_array().unwrap().len(), Check::ALL.len());
    assert!(why["why"].is_string() && why.get("history").is_none(), "{why}");
    let logs = ask("logs", json!({"agent_id": "agent-0", "lines": 2})).unwrap();
    assert_eq!(logs["lines"], json!(["agent-0 line 0", "agent-0 line 1"]));
    for command in [AgentCommand::Stop, AgentCommand::Restart] {
        ask(command.as_str(), json!({"agent_id": "agent-1"})).unwrap();
        assert_eq!(api.commands.recv().unwrap(), ("agent-1".to_owned(), command));
    }
    let no = ask("start", json!({"agent_id": "agent-1"})).unwrap_err();
    assert!(matches!(&no, ClientError::Declined(error) if error.message.contains("runs already")), "{no}");
}

#[test]
fn the_client_distinguishes_an_absent_daemon_from_a_hung_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.sock");
    let ask = |limit| smol::block_on(call(&path, "health", Value::Null, limit)).unwrap_err();
    assert!(matches!(ask(DEADLINE), ClientError::NotRunning(_)), "no file");
    let listener = UnixListener::bind(&path).unwrap();
    let late = ask(Duration::from_millis(50));
    assert!(matches!(late, ClientError::TimedOut { .. }) && late.to_string().contains("did not answer"), "{late}");
    drop(listener);
    assert!(matches!(ask(DEADLINE), ClientError::NotRunning(_)), "a file without a listener");
}

#[test]
fn ten_thousand_pipelined_heartbeats_are_all_answered_in_order() {
    const COUNT: u32 = 10_000;
    let api = DaemonApi::start(100);
    let mut lines = Lines::to(&api.socket);
    let mut sending = lines.0.get_ref().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for id in 0..COUNT {
            let n = id % 100;
            let line = rpc(id, "heartbeat", &heartbeat(&format!("agent-{n}"), 1000 + n, 1)) + "\n";
            sending.write_all(line.as_bytes()).unwrap();
        }
    });
    for id in 0..COUNT {
        let answer = lines.receive();
        assert_eq!((&answer["id"], answer.get("error")), (&json!(id), None));
    }
    sender.join().unwrap();
    assert_eq!(api.with_control(|control| control.accepted()), u64::from(COUNT));
}

#[test]
fn a_peer_that_reads_no_answers_is_not_read_any_more() {
    let api = DaemonApi::start(200);
    let mut greedy = Lines::to(&api.socket);
    let request = rpc(1, "agents", "null") + "\n";
    greedy.0.get_ref().set_nonblocking(true).unwrap();
    // Until the daemon stops reading, because its answers are not read.
    let mut sent = 0;
    let until = std::time::Instant::now() + Duration::from_millis(500);
    while std::time::Instant::now() < until && sent < 64 << 20 {
        sent += greedy.0.get_mut().write(request.as_bytes()).unwrap_or(0);
    }
    assert!(sent < 8 << 20, "{sent} bytes of requests were taken in");
    assert_eq!(get(api.http, "/health").status, 200, "other clients are served");
}

#[test]
fn a_line_over_the_limit_is_refused_and_one_at_the_limit_accepted() {
    let api = DaemonApi::start(1);
    let mut lines = Lines::to(&api.socket);
    let padded = |size: usize| {
        let mut line = rpc(1, "health", "null");
        line.extend(std::iter::repeat_n(' ', size - line.len()));
        line
    };
    assert_eq!(lines.request(padded(64 * 1024))["id"], 1);
    lines.send("x".repeat(64 * 1024 + 1));
    assert_eq!(lines.receive()["error"]["code"], -32600);
    let mut rest = Vec::new();
    assert_eq!(lines.0.read_to_end(&mut rest).unwrap_or(0), 0, "then the daemon hangs up");

    let mut lines = Lines::to(&api.socket);
    // The daemon may hang up before the line feed is written.
    let _ = lines.0.get_mut().write_all((padded(64 * 1024 + 1) + "\n").as_bytes());
    assert_eq!(lines.receive()["error"]["code"], -32600);
}

#[test]
fn a_line_may_arrive_byte_by_byte() {
    let api = DaemonApi::start(1);
    let mut lines = Lines::to(&api.socket);
    for byte in (rpc(1, "health", "null") + "\n").bytes() {
        lines.send([byte]);
    }
    assert_eq!(lines.receive()["id"], 1);
    // A line without its line feed is incomplete and does not count.
    lines.send(heartbeat("agent-0", 1000, 1));
    drop(lines);
    Lines::to(&api.socket).request(rpc(2, "health", "null"));
    assert_eq!(api.with_control(|control| control.accepted()), 0);
}

#[test]
fn only_the_owner_may_open_the_socket() {
    let api = DaemonApi::start(0);
    assert_eq!(fs::metadata(&api.socket).unwrap().permissions().mode() & 0o777, 0o600);
}

const SOCKET: &str = "TEST_SOCKET";
const REQUEST: &str = "TEST_REQUEST";
const OTHER_USER: &str = "daemon_api::socket::another_user_may_not_command_even_if_the_file_s_mode_lets_it_in";

/// The request is sent by this test, started again as another user.
#[requires("root")]
#[test]
fn another_user_may_not_command_even_if_the_file_s_mode_lets_it_in() {
    if let (Some(path), Some(request)) = (std::env::var_os(SOCKET), std::env::var_os(REQUEST)) {
        let answer = Lines::to(Path::new(&path)).request(request.as_encoded_bytes());
        return writeln!(std::io::stdout(), "{answer}").unwrap();
    }
    let api = DaemonApi::start(1);
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for (path, mode) in [(directory.path(), 0o755), (api.socket.parent().unwrap(), 0o755), (&*api.socket, 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let other_user = |request: String| {
        let output = Command::new(&program)
            .args([OTHER_USER, "--exact", "--nocapture"])
            .env(SOCKET, &api.socket)
            .env(REQUEST, request)
            .current_dir("/")
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for method in ["start", "stop", "restart", "logs", "reload"] {
        let answer = other_user(rpc(1, method, r#"{"agent_id":"agent-0"}"#));
        assert!(answer.contains("FORBIDDEN"), "{method}: {answer}");
    }
    assert!(api.commands.try_recv().is_err());
    let answer = other_user(rpc(1, "heartbeat", &heartbeat("agent-0", 1000, 1)));
    assert!(answer.contains("heartbeat received"), "{answer}");
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced_and_that_of_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.sock");
    drop(UnixListener::bind(&path).unwrap());
    let ours = SocketFile::bind(&path, None).expect("its listener is gone");
    let second = SocketFile::bind(&path, None).unwrap_err();
    assert!(second.to_string().starts_with("another daemon listens at"), "{second}");
    assert!(UnixStream::connect(&path).is_ok(), "the first one's is untouched");
    drop(ours);
    assert!(!path.exists(), "an orderly end leaves no socket");

    // A listener that does not hold the lock is left alone too.
    let foreign = UnixListener::bind(&path).unwrap();
    assert!(SocketFile::bind(&path, None).unwrap_err().to_string().starts_with("another daemon listens at"));
    drop(foreign);
    fs::remove_file(&path).unwrap();

    fs::write(&path, "precious").unwrap();
    let no = SocketFile::bind(&path, None).unwrap_err();
    assert!(no.to_string().contains("not a socket"), "{no}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    let long = directory.path().join("x".repeat(120));
    assert!(SocketFile::bind(&long, None).unwrap_err().to_string().contains("107 bytes"));
    assert!(SocketFile::bind(&directory.path().join("no/where"), None).is_err());
}
