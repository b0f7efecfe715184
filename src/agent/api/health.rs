//! `/health`, `/livez`, `/readyz`.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;
use serde::Serialize;
use statemachine::lifecycle::{FaultName, Machine, Part};
use strum::VariantArray as _;
use tide::Request;

use super::answer::{JSON, json, typed};
use super::health_status::{HealthEndpoint, HealthStatus, health_status};
use super::{Shared, Snapshot};
use ops_http::server::RouteResponse;
use ops_protocol::Timestamp;
use ops_runtime::clock;

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    uptime: u64,
    last_heartbeat: Option<Timestamp>,
    agent_id: &'a str,
    state: &'static str,
    since: Timestamp,
    faults: Vec<FaultView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat: Option<&'static str>,
}

#[derive(Serialize)]
struct FaultView<'a> {
    name: FaultName,
    since: Timestamp,
    detail: &'a str,
}

/// The last answer to `/health`. Until the next snapshot and the next second, its words stay true.
#[derive(Default)]
pub(super) struct HealthCache(Mutex<Option<(Arc<Snapshot>, u64, Bytes)>>);

/// `GET /health`.
pub(super) fn health(request: &Request<Shared>) -> RouteResponse {
    let shared = request.state();
    let snapshot = shared.api.published.get();
    let uptime = uptime(&snapshot);
    let health_status = health_status(HealthEndpoint::Health, snapshot.lifecycle.state());
    let mut health_cache = shared.health_cache.0.lock().unwrap_or_else(PoisonError::into_inner);
    match &*health_cache {
        Some((of, at, words)) if Arc::ptr_eq(of, &snapshot) && *at == uptime => {
            typed(health_status.code, JSON, words.clone())
        }
        _ => {
            let answer = json(health_status.code, &view(&snapshot, health_status, uptime));
            *health_cache = Some((snapshot, uptime, answer.0.body().clone()));
            answer
        }
    }
}

fn view(snapshot: &Snapshot, health_status: HealthStatus, uptime: u64) -> Health<'_> {
    let lifecycle = &snapshot.lifecycle;
    Health {
        status: health_status.status,
        uptime,
        last_heartbeat: snapshot.heartbeat.last_success.map(Timestamp),
        agent_id: &snapshot.agent_id,
        state: lifecycle.state().as_str(),
        since: Timestamp(lifecycle.since().wall),
        faults: faults(lifecycle),
        heartbeat: snapshot.heartbeat.endpoint.is_none().then_some("standalone"),
    }
}

#[derive(Serialize)]
struct ProbeView<'a> {
    status: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check<'a>>>,
}

#[derive(Serialize)]
struct Check<'a> {
    name: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// `GET /livez` and `GET /readyz`. With `?verbose`, each check with what it says.
pub(super) fn probe(probe: HealthEndpoint, request: &Request<Shared>) -> RouteResponse {
    let snapshot = request.state().api.published.get();
    let state = snapshot.lifecycle.state();
    let health_status = health_status(probe, state);
    let checks = asks_for(request, "verbose").then(|| checks(probe, &snapshot.lifecycle));
    json(health_status.code, &ProbeView { status: health_status.status, state: state.as_str(), checks })
}

/// Whole seconds since the start, on the monotonic clock.
pub(super) fn uptime(snapshot: &Snapshot) -> u64 {
    clock::monotonic().saturating_sub(snapshot.lifecycle.started().monotonic).as_secs()
}

/// The state, each required part, each fault that stands.
fn checks(probe: HealthEndpoint, lifecycle: &Machine) -> Vec<Check<'_>> {
    let state = Check {
        name: "state".to_owned(),
        ok: health_status(probe, lifecycle.state()).code == 200,
        since: Some(Timestamp(lifecycle.since().wall)),
        detail: Some(lifecycle.cause()),
    };
    let parts = Part::VARIANTS.iter().map(|&part| Check {
        name: format!("part {}", part.as_str()),
        ok: lifecycle.has_proved(part),
        since: None,
        detail: None,
    });
    let faults = lifecycle.faults().iter().map(|(name, fault)| Check {
        name: format!("fault {}", name.as_str()),
        ok: false,
        since: Some(Timestamp(fault.since.wall)),
        detail: Some(&fault.detail),
    });
    std::iter::once(state).chain(parts).chain(faults).collect()
}

fn faults(lifecycle: &Machine) -> Vec<FaultView<'_>> {
    let view = |(name, fault)| -> FaultView<'_> {
        let fault: &statemachine::lifecycle::Fault = fault;
        FaultView { name, since: Timestamp(fault.since.wall), detail: &fault.detail }
    };
    lifecycle.faults().iter().map(view).collect()
}

/// Whether the query has this key, with or without a value.
fn asks_for(request: &Request<Shared>, key: &str) -> bool {
    request.url().query_pairs().any(|(name, _)| name == key)
}
