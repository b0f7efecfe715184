//! The HTTP transport.

use ops_protocol::Command;
use ops_protocol::views::Check;
use serde_json::json;
use test_requirements::requires;

use super::heartbeat;
use crate::support::agent::wait_until;
use crate::support::daemon_api::DaemonApi;
use crate::support::http::{Reply, Wire, exchange, get, request};
use crate::support::prometheus::{Prometheus, lint};

fn post(api: &DaemonApi, path: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    exchange(
        api.http,
        format!("POST {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {length}\r\n\r\n{body}", api.http),
    )
}

#[test]
fn each_heartbeat_is_accepted_refused_or_counted_as_stray() {
    let api = DaemonApi::start(2);
    let ok = post(&api, "/heartbeat", "", &heartbeat("agent-0", 1000, 3));
    assert_eq!((ok.status, ok.body.as_str()), (200, r#"{"message":"heartbeat received"}"#));
    for (body, status, code) in [
        (heartbeat("unknown", 1000, 1), 400, "INVALID_AGENT_ID"),
        (heartbeat("not a name", 1000, 1), 400, "INVALID_AGENT_ID"),
        (r#"{"pid":1,"status":"running","timestamp":"2025-12-05T10:00:00Z"}"#.into(), 400, "INVALID_AGENT_ID"),
        ("{".into(), 400, "INVALID_REQUEST"),
        (String::new(), 400, "INVALID_REQUEST"),
        (heartbeat("agent-0", 0, 1), 400, "INVALID_REQUEST"),
        (heartbeat("agent-0", 1001, 3), 409, "CONFLICT"),
        (heartbeat("agent-0", 1000, 2), 409, "CONFLICT"),
        ("x".repeat(64 * 1024 + 1), 413, "PAYLOAD_TOO_LARGE"),
    ] {
        let reply = post(&api, "/heartbeat", "", &body);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{body:.80}");
    }
    assert_eq!(post(&api, "/heartbeat", "", &heartbeat("unknown", 1, 1)).json()["error"], "invalid agent_id");
    let agent = get(api.http, "/agents/agent-0").json();
    assert_eq!((&agent["heartbeats"], &agent["heartbeats_rejected"]), (&json!(1), &json!(2)));
}

#[test]
fn a_body_that_no_answer_needs_is_refused_before_it_is_read() {
    let api = DaemonApi::start(1);
    for target in ["GET /agents", "GET /heartbeat", "POST /agents/agent-0/stop", "POST /nowhere"] {
        let declared = exchange(api.http, format!("{target} HTTP/1.1\r\nhost: d\r\ncontent-length: 1025\r\n\r\n"));
        assert_eq!(declared.status, 413, "{target}");
    }
    let small = post(&api, "/agents/agent-0/stop", "", "{}");
    assert_eq!(small.status, 202);
}

#[test]
fn a_refused_heartbeat_keeps_the_connection_open() {
    let api = DaemonApi::start(1);
    let mut wire = Wire::to(api.http);
    for (body, status) in
        [(heartbeat("unknown", 1, 1), 400), (heartbeat("agent-0", 1000, 1), 200), (heartbeat("agent-0", 1, 1), 409)]
    {
        wire.send(format!("POST /heartbeat HTTP/1.1\r\nhost: d\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(wire.reply().status, status);
    }
}

#[test]
fn an_agent_is_shown_with_its_checks_and_its_history() {
    let api = DaemonApi::start(3);
    api.with_control(|control| control.end(1));
    let list = get(api.http, "/agents").json();
    let ids: Vec<_> = list["agents"].as_array().unwrap().iter().map(|agent| agent["agent_id"].clone()).collect();
    assert_eq!(ids, ["agent-0", "agent-1", "agent-2"]);
    assert!(list["now"].is_string());
    let ended = get(api.http, "/agents/agent-1").json();
    assert_ne!(ended["state"], "running");
    assert_eq!(ended["signals"].as_array().unwrap().len(), Check::ALL.len());
    assert!(!ended["history"].as_array().unwrap().is_empty());
    assert_eq!(get(api.http, "/agents/unknown").code(), "NOT_FOUND");
    let health = get(api.http, "/health");
    assert_eq!((health.status, &health.json()["agents"]["running"]), (200, &json!(3)));
    assert_eq!(
        get(api.http, "/sd").json(),
        json!([{"targets": ["127.0.0.1:9100"], "labels": {
            "__meta_ops_agent_name": "Agent 0", "__meta_ops_agent_state": "starting", "__meta_ops_agent_type": "custom",
            "agent_id": "agent-0", "rack": "r1",
        }}])
    );
}

#[test]
fn an_unknown_path_is_404_and_a_wrong_method_405() {
    let api = DaemonApi::start(1);
    for path in ["/", "/agents", "/agents/agent-0", "/health", "/metrics", "/sd"] {
        let (head, got) = (request(api.http, "HEAD", path, ""), get(api.http, path));
        assert_eq!((head.status, head.body.as_str(), got.status), (200, "", 200), "{path}");
        assert_eq!(head.header("content-type"), got.header("content-type"), "{path}");
        assert_eq!(got.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(got.header("cache-control"), Some("no-store"), "{path}");
        let wrong = request(api.http, "POST", path, "content-length: 0\r\n");
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")), "{path}");
        assert_eq!(wrong.code(), "METHOD_NOT_ALLOWED");
    }
    for path in ["/heartbeat", "/agents/agent-0/stop", "/reload"] {
        for method in ["GET", "PUT", "BREW"] {
            let wrong = request(api.http, method, path, "");
            assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")), "{method} {path}");
        }
    }
    for path in ["/nowhere", "/agents/", "/agents/agent-0/kill", "/agents/../health", "/page.html"] {
        assert_eq!(get(api.http, path).code(), "NOT_FOUND", "{path}");
    }
}

#[test]
fn commands_are_queued_and_pointless_ones_refused_with_a_reason() {
    let api = DaemonApi::start(1);
    let stop = post(&api, "/agents/agent-0/stop", "", "");
    assert_eq!((stop.status, &stop.json()["message"]), (202, &json!("stop queued for agent-0")));
    assert_eq!(api.commands.recv().unwrap(), ("agent-0".to_owned(), Command::Stop));
    assert_eq!(post(&api, "/agents/agent-0/restart", "", "").status, 202);
    assert_eq!(api.commands.recv().unwrap(), ("agent-0".to_owned(), Command::Restart));
    let start = post(&api, "/agents/agent-0/start", "", "");
    assert_eq!((start.status, start.code().as_str()), (409, "CONFLICT"));
    assert_eq!(post(&api, "/agents/unknown/stop", "", "").status, 404);
}

#[test]
fn a_web_page_of_another_origin_can_neither_command_nor_send_heartbeats() {
    let api = DaemonApi::start(1);
    for headers in [
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ] {
        for (path, body) in [("/agents/agent-0/stop", String::new()), ("/heartbeat", heartbeat("agent-0", 1000, 1))] {
            let reply = post(&api, path, headers, &body);
            assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"), "{path} {headers}");
        }
    }
    // A foreign host name that resolves to this address.
    let rebound = request(
        api.http,
        "POST",
        "/agents/agent-0/stop",
        "content-length: 0\r\norigin: http://agent\r\nsec-fetch-site: same-origin\r\n",
    );
    assert_eq!(rebound.status, 403);
    assert!(api.commands.try_recv().is_err(), "nothing of this reached the control API");
    assert_eq!(api.with_control(|control| control.accepted()), 0);
    let own = format!("origin: http://{}\r\nsec-fetch-site: same-origin\r\n", api.http);
    assert_eq!(post(&api, "/agents/agent-0/stop", &own, "").status, 202);
}

#[test]
fn a_configured_token_protects_commands_only() {
    let api = DaemonApi::with_token(1, Some("s3cret"));
    for headers in ["", "authorization: Bearer s3cre\r\n", "authorization: Basic s3cret\r\n"] {
        let reply = post(&api, "/agents/agent-0/stop", headers, "");
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")), "{headers}");
    }
    assert!(api.commands.try_recv().is_err());
    assert_eq!(post(&api, "/agents/agent-0/stop", "authorization: Bearer s3cret\r\n", "").status, 202);
    assert_eq!(post(&api, "/heartbeat", "", &heartbeat("agent-0", 1000, 1)).status, 200);
    assert_eq!(get(api.http, "/agents").status, 200);
}

#[test]
fn metrics_show_the_state_of_each_agent() {
    let api = DaemonApi::start(2);
    post(&api, "/heartbeat", "", &heartbeat("agent-0", 1000, 1));
    post(&api, "/heartbeat", "", &heartbeat("agent-0", 7, 1));
    post(&api, "/heartbeat", "", "{}");
    api.with_control(|control| control.end(1));
    let reply = get(api.http, "/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4"));
    for line in [
        r#"ops_daemon_agent_up{agent_id="agent-0"} 1"#,
        r#"ops_daemon_agent_up{agent_id="agent-1"} 0"#,
        r#"ops_daemon_agent_state{agent_id="agent-0",state="running"} 1"#,
        r#"ops_daemon_agent_state{agent_id="agent-0",state="failed"} 0"#,
        r#"ops_daemon_agent_heartbeats_total{agent_id="agent-0"} 1"#,
        r#"ops_daemon_agent_heartbeats_refused_total{agent_id="agent-0"} 1"#,
        r#"ops_daemon_agent_restarts_total{agent_id="agent-0"} 0"#,
        r#"ops_daemon_agent_check_ok{agent_id="agent-0",check="heartbeat"} 1"#,
        r#"ops_daemon_agent_check_ok{agent_id="agent-1",check="process"} 0"#,
        r#"ops_daemon_heartbeats_total{result="accepted",transport="http"} 1"#,
        r#"ops_daemon_heartbeats_total{result="refused",transport="http"} 1"#,
        r#"ops_daemon_heartbeats_total{result="invalid",transport="http"} 1"#,
        r#"ops_daemon_heartbeats_total{result="accepted",transport="socket"} 0"#,
        "ops_daemon_uptime_seconds 5",
    ] {
        assert!(reply.body.lines().any(|shown| shown == line), "{line} in\n{}", reply.body);
    }
    assert!(reply.body.contains("process_resident_memory_bytes"));
    assert!(reply.body.contains(r#"ops_daemon_agent_last_heartbeat_age_seconds{agent_id="agent-0"}"#));
    assert!(!reply.body.contains(r#"last_heartbeat_age_seconds{agent_id="agent-1"}"#), "no heartbeat, no age");
}

#[requires("promtool")]
#[test]
fn promtool_finds_no_fault_in_the_daemon_s_metrics() {
    let api = DaemonApi::start(2);
    post(&api, "/heartbeat", "", &heartbeat("agent-0", 1000, 1));
    post(&api, "/heartbeat", "", &heartbeat("agent-0", 7, 1));
    api.with_control(|control| control.end(1));
    lint(&get(api.http, "/metrics").body);
}

#[requires("prometheus")]
#[test]
fn prometheus_scrapes_the_daemon_and_discovers_its_agents() {
    let api = DaemonApi::start(1);
    post(&api, "/heartbeat", "", &heartbeat("agent-0", 1000, 1));
    let http = api.http;
    let prometheus = Prometheus::start(&format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n\
         - {{ job_name: daemon, static_configs: [{{ targets: ['{http}'] }}] }}\n\
         - {{ job_name: agents, http_sd_configs: [{{ url: 'http://{http}/sd', refresh_interval: 1s }}] }}\n"
    ));
    wait_until("an agent's state is in Prometheus", || {
        let reply = get(prometheus.address, "/api/v1/query?query=ops_daemon_agent_up");
        reply.status == 200 && reply.body.contains("agent-0") && reply.body.contains(",\"1\"]")
    });
    wait_until("the agent is a target", || {
        let reply = get(prometheus.address, "/api/v1/targets");
        reply.body.contains("\"agent_id\":\"agent-0\"") && reply.body.contains("http://127.0.0.1:9100/metrics")
    });
}
