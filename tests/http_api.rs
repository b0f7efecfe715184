//! What the HTTP API answers in every state and to every request.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_io::Async;
use ops_agent::testing::agent::api::{Api, HealthEndpoint, health_status, routes};
use ops_agent::testing::agent::reload::ReloadError;
use ops_agent::testing::agent::snapshot::{Published, Snapshot};
use ops_http::Token;
use ops_http::server::{Listener, ServerLimits};
use ops_runtime::clock::{Clock, SystemClock};
use smol::channel::bounded;
use statemachine::lifecycle::{FaultName, Input, Machine, State};

use crate::support::agent::wait_until;
use crate::support::api::{ApiServer, Served, after, running, snapshot, starting};
use crate::support::http::{Reply, get, request};

fn fault(name: FaultName) -> Input {
    Input::FaultRaised(name, "seen by the test".to_owned())
}

fn stopping() -> Machine {
    after(running(), [Input::StopRequested("SIGTERM".to_owned())])
}

#[test]
fn each_state_has_the_probe_results_of_the_table() {
    let server = ApiServer::start(ServerLimits::default());
    let every_fault = [FaultName::Heartbeat, FaultName::Http, FaultName::Resources, FaultName::StatusFile];
    let mut machines = vec![
        (starting(), "starting", [503, 200, 503]),
        (running(), "running", [200, 200, 200]),
        (stopping(), "stopping", [503, 200, 503]),
        // An agent that is idle, or whose fault is cleared, is healthy.
        (
            after(running(), [fault(FaultName::Heartbeat), Input::FaultCleared(FaultName::Heartbeat)]),
            "running",
            [200; 3],
        ),
    ];
    machines.extend(every_fault.map(|name| (after(running(), [fault(name)]), "degraded", [503, 200, 503])));
    for (machine, state, codes) in machines {
        server.published.set(snapshot(machine));
        for (path, code) in ["/health", "/livez", "/readyz"].into_iter().zip(codes) {
            let reply = get(server.address(), path);
            assert_eq!(reply.status, code, "{path} in {state}");
            assert_eq!(reply.json()["state"], state, "{path}");
            let good = matches!(reply.json()["status"].as_str(), Some("healthy" | "alive" | "ready"));
            assert_eq!(good, code == 200, "word and code of {path} in {state}");
        }
    }
}

#[test]
fn a_probe_is_200_exactly_where_the_table_requires_it() {
    use State::{Degraded, Running, Starting, Stopped, Stopping};
    for state in [Starting, Running, Degraded, Stopping, Stopped] {
        assert_eq!(health_status(HealthEndpoint::Health, state).code == 200, state == Running);
        assert_eq!(health_status(HealthEndpoint::Ready, state).code == 200, state == Running);
        assert_eq!(health_status(HealthEndpoint::Live, state).code == 200, state != Stopped);
    }
}

#[test]
fn health_names_the_agent_its_state_its_times_and_its_faults() {
    let server = ApiServer::start(ServerLimits::default());
    let health = get(server.address(), "/health").json();
    assert_eq!(health["agent_id"], "agent-001");
    assert_eq!(health["last_heartbeat"], serde_json::Value::Null, "none was acknowledged yet");
    assert_eq!(health["faults"], serde_json::json!([]));
    assert!(health["uptime"].as_u64().is_some(), "{health}");
    assert!(health.get("heartbeat").is_none(), "not standalone");

    let mut degraded = snapshot(after(running(), [fault(FaultName::Heartbeat)]));
    degraded.heartbeat.last_success = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_928_800));
    let since = ops_protocol::Timestamp(degraded.lifecycle.since().wall).to_string();
    server.published.set(degraded);
    let health = get(server.address(), "/health").json();
    assert_eq!(health["last_heartbeat"], "2025-12-05T10:00:00.000Z");
    assert_eq!(health["since"], *since);
    assert_eq!(
        health["faults"],
        serde_json::json!([{"name": "heartbeat", "since": since, "detail": "seen by the test"}])
    );
}

#[test]
fn uptime_counts_whole_seconds_of_the_monotonic_clock() {
    let server = ApiServer::start(ServerLimits::default());
    let mut began = SystemClock.now();
    let hour = Duration::from_secs(3600);
    // A change of the wall clock does not change the uptime.
    began.wall += 1000 * hour;
    let started = began.monotonic;
    let back = started.min(hour);
    began.monotonic -= back;
    let limits = statemachine::lifecycle::Limits { start: hour, grace: hour, refresh: hour };
    server.published.set(snapshot(Machine::new(began, 1, 1, limits)));
    let uptime = get(server.address(), "/health").json()["uptime"].as_u64().expect("whole seconds");
    let now = SystemClock.now().monotonic;
    assert!((back.as_secs()..=(now - began.monotonic).as_secs()).contains(&uptime), "{uptime}");
}

#[test]
fn health_of_a_standalone_agent_says_standalone() {
    let server = ApiServer::start(ServerLimits::default());
    let mut alone = snapshot(running());
    alone.heartbeat.endpoint = None;
    server.published.set(alone);
    assert_eq!(get(server.address(), "/health").json()["heartbeat"], "standalone");
}

#[test]
fn verbose_probes_list_each_check() {
    let server = ApiServer::start(ServerLimits::default());
    server.published.set(snapshot(after(starting(), [fault(FaultName::Resources)])));
    assert!(get(server.address(), "/readyz").json().get("checks").is_none());
    for query in ["?verbose", "?verbose=1", "?x&verbose"] {
        let checks = get(server.address(), &format!("/readyz{query}")).json()["checks"].clone();
        let failed = |name: &str| {
            let check = checks.as_array().expect("a list").iter().find(|check| check["name"] == name);
            !check.unwrap_or_else(|| panic!("no {name} in {checks}"))["ok"].as_bool().expect("a verdict")
        };
        for name in ["state", "part api", "part status_file", "part probes", "fault resources"] {
            assert!(failed(name), "{name}");
        }
    }
    server.published.set(snapshot(running()));
    let checks = get(server.address(), "/readyz?verbose").json()["checks"].clone();
    assert!(checks.as_array().expect("a list").iter().all(|check| check["ok"] == true), "{checks}");
}

#[test]
fn head_answers_like_get_without_the_body() {
    let server = ApiServer::start(ServerLimits::default());
    for path in ["/health", "/livez", "/readyz", "/metrics", "/nowhere"] {
        let (head, get) = (request(server.address(), "HEAD", path, ""), get(server.address(), path));
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[test]
fn an_unknown_path_is_404_and_a_wrong_method_405() {
    let server = ApiServer::start(ServerLimits::default());
    for path in ["/", "/nowhere", "/health/", "/health/x", "/HEALTH", "/%68ealth", "/health%00", "/%zz", "//health"] {
        for method in ["GET", "POST", "BREW"] {
            let reply = request(server.address(), method, path, "");
            assert_eq!((reply.status, reply.code().as_str()), (404, "NOT_FOUND"), "{method} {path}");
        }
    }
    for (path, wrong, allow) in [
        ("/health", &["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW"][..], "GET, HEAD"),
        ("/reload", &["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "post"][..], "POST"),
    ] {
        for method in wrong {
            let reply = request(server.address(), method, path, "");
            assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{method} {path}");
            assert!(*method == "HEAD" || reply.code() == "METHOD_NOT_ALLOWED");
        }
    }
}

#[test]
fn metrics_are_json_unless_the_request_accepts_text() {
    let server = ApiServer::start(ServerLimits::default());
    let metrics = get(server.address(), "/metrics").json();
    for (key, value) in [
        ("agent_id", serde_json::json!("agent-001")),
        ("heartbeat_count", 0.into()),
        ("heartbeat_failures", 0.into()),
        ("last_heartbeat", serde_json::Value::Null),
        ("cpu_percent", 2.5.into()),
        ("memory_bytes", 10_240_000.into()),
        ("status", "running".into()),
        ("state", "running".into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
    ] {
        assert_eq!(metrics[key], value, "{key}");
    }
    assert!(metrics["uptime"].is_u64());
    let text = request(server.address(), "GET", "/metrics", "accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(text.body, "agent_info{id=\"agent-001\"} 1\n");
    assert_eq!(text.header("vary"), Some("accept"), "a cache must not mix them up");
}

/// Requests a reload that the loop answers with `outcome`.
fn reload_with(outcome: Result<SystemTime, ReloadError>) -> Reply {
    let server = ApiServer::start(ServerLimits::default());
    let reloads = server.reloads.clone();
    let the_loop = std::thread::spawn(move || reloads.recv_blocking().expect("a reload request").reply(outcome));
    let reply = request(server.address(), "POST", "/reload", "content-length: 0\r\n");
    the_loop.join().expect("one request");
    reply
}

#[test]
fn a_reload_request_reports_its_outcome() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_928_800);
    let reply = reload_with(Ok(at));
    let expected = serde_json::json!({
        "success": true, "message": "config reloaded successfully", "reloaded_at": "2025-12-05T10:00:00.000Z"
    });
    assert_eq!((reply.status, reply.json()), (200, expected));

    let text = "agent.yaml:3:1: `intervall` is unknown\nsecond line".to_owned();
    for (outcome, status, code) in [
        (ReloadError::Invalid(text.clone()), 400, "CONFIG_ERROR"),
        (ReloadError::NeedsRestart(text.clone()), 400, "CONFIG_ERROR"),
        (ReloadError::Log(text.clone()), 500, "INTERNAL_ERROR"),
    ] {
        let reply = reload_with(Err(outcome));
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        assert_eq!(reply.json()["success"], false);
        assert_eq!(reply.json()["error"], *text, "the text of `agent validate`, unchanged");
    }
    let reply = reload_with(Err(ReloadError::NotNow));
    assert_eq!((reply.status, reply.code().as_str()), (503, "UNAVAILABLE"));
}

#[test]
fn a_reload_request_fails_if_the_loop_is_gone_or_busy() {
    let server = ApiServer::start(ServerLimits::default());
    server.reloads.close();
    assert_eq!(request(server.address(), "POST", "/reload", "").status, 503);
}

#[test]
fn a_reload_request_that_finds_the_queue_full_is_told_so() {
    let server = ApiServer::start(ServerLimits::default());
    let (reloads, address) = (server.reloads.clone(), server.address());
    let first = std::thread::spawn(move || request(address, "POST", "/reload", "content-length: 0\r\n"));
    wait_until("the first one waits", || reloads.is_full());
    let reply = request(address, "POST", "/reload", "content-length: 0\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (503, "BUSY"), "{}", reply.body);
    reloads.recv_blocking().expect("a request").reply(Ok(SystemTime::UNIX_EPOCH));
    assert_eq!(first.join().expect("an answer").status, 200);
}

#[test]
fn a_reload_request_needs_a_configured_token() {
    let token = Token::from_file("s3cret-t0ken\n").expect("a token");
    assert!(!format!("{token:?}").contains("s3cret"), "a token never shows itself");
    let server = ApiServer::with_token(ServerLimits::default(), Some(token));
    let wrong =
        ["", "Bearer", "Bearer ", "Bearer s3cret-t0ke", "Bearer s3cret-t0kens", "Basic s3cret-t0ken", "s3cret-t0ken"];
    for given in wrong {
        let header = if given.is_empty() { String::new() } else { format!("authorization: {given}\r\n") };
        let reply = request(server.address(), "POST", "/reload", &header);
        assert_eq!((reply.status, reply.code().as_str()), (401, "UNAUTHORIZED"), "{given:?}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert!(!reply.body.contains("s3cret"));
    }
    assert!(server.reloads.is_empty(), "no request without the token reaches the loop");
    let reloads = server.reloads.clone();
    let the_loop =
        std::thread::spawn(move || reloads.recv_blocking().expect("a reload request").reply(Err(ReloadError::NotNow)));
    let reply = request(server.address(), "POST", "/reload", "authorization: bearer s3cret-t0ken\r\n");
    the_loop.join().expect("one request");
    assert_eq!(reply.status, 503);
    assert_eq!(get(server.address(), "/health").status, 200, "reading needs none");
}

/// A listener whose peers are another host.
struct OtherHost(Async<TcpListener>);

impl Listener for OtherHost {
    type Stream = <Async<TcpListener> as Listener>::Stream;

    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)> {
        let (stream, _) = self.0.accept_now()?;
        Ok((stream, IpAddr::from([203, 0, 113, 9])))
    }

    async fn readable(&self) -> io::Result<()> {
        Listener::readable(&self.0).await
    }
}

/// An API without a token, whose peers are another host.
pub(crate) fn served_to_another_host(verifies_clients: bool) -> Served {
    let (reload, requests) = bounded(1);
    drop(requests);
    let render = Arc::new(|_: &Snapshot| String::new());
    let published = Published::new(snapshot(running()));
    let api = move || routes(Api { published, reload, token: None, verifies_clients, render });
    Served::start_on(ServerLimits::default(), api, OtherHost)
}

#[test]
fn without_a_token_only_this_host_can_reload_unless_clients_have_certificates() {
    for (verifies_clients, status, code) in [(false, 403, "FORBIDDEN"), (true, 503, "UNAVAILABLE")] {
        let served = served_to_another_host(verifies_clients);
        let reply = request(served.address, "POST", "/reload", "");
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.body);
        assert_eq!(get(served.address, "/health").status, 200, "reading is open to all");
    }
}

#[test]
fn a_token_file_without_a_usable_token_is_rejected() {
    for content in ["", "\n", "  \nsecond", "has blank", "ümlaut"] {
        assert!(Token::from_file(content).is_none(), "{content:?}");
    }
}
