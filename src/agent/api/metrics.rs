//! `/metrics`: JSON, or the Prometheus text format if the `Accept` header prefers it.

use http::HeaderValue;
use http::header::VARY;
use serde::Serialize;
use statemachine::lifecycle::State;
use tide::Request;

use super::answer::{json, typed};
use super::health::uptime;
use super::negotiation::{Format, preferred};
use super::{Shared, Snapshot};
use ops_http::server::RouteResponse;
use ops_protocol::Timestamp;

#[derive(Serialize)]
struct MetricsBody<'a> {
    agent_id: &'a str,
    uptime: u64,
    heartbeat_count: u64,
    heartbeat_failures: u64,
    last_heartbeat: Option<Timestamp>,
    cpu_percent: f64,
    memory_bytes: u64,
    status: &'static str,
    version: &'static str,
    state: &'static str,
}

/// `GET /metrics`.
pub(super) fn metrics(request: &Request<Shared>) -> RouteResponse {
    let api = &request.state().api;
    let snapshot = api.published.get();
    let accept = request.header("accept").into_iter().flatten().map(|value| value.as_str());
    let mut response = match preferred(&accept.collect::<Vec<_>>().join(",")) {
        Format::Json => json(200, &in_json(&snapshot)),
        Format::Text => typed(200, "text/plain; version=0.0.4; charset=utf-8", (api.render)(&snapshot)),
    };
    response.0.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn in_json(snapshot: &Snapshot) -> MetricsBody<'_> {
    let state = snapshot.lifecycle.state();
    MetricsBody {
        agent_id: &snapshot.agent_id,
        uptime: uptime(snapshot),
        heartbeat_count: snapshot.heartbeat.sent,
        heartbeat_failures: snapshot.heartbeat.failed,
        last_heartbeat: snapshot.heartbeat.last_success.map(Timestamp),
        cpu_percent: snapshot.usage.cpu_percent,
        memory_bytes: snapshot.usage.memory_bytes,
        // The word that heartbeats use for a Degraded agent is `error`.
        status: if state == State::Degraded { "error" } else { state.as_str() },
        version: crate::agent::version(),
        state: state.as_str(),
    }
}
