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
    #[cfg(feature = "simulate")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    simulated: bool,
}

#[derive(Serialize)]
struct FaultView<'a> {
    name: FaultName,
    since: Timestamp,
    detail: &'a str,
}

/// The last response body of `/health`. It is valid for one snapshot and one second of uptime.
#[derive(Default)]
pub(super) struct HealthCache(Mutex<Option<(Arc<Snapshot>, u64, Bytes)>>);

/// `GET /health`.
pub(super) fn health(request: &Request<Shared>) -> RouteResponse {
    let shared = request.state();
    let snapshot = shared.api.published.get();
    let uptime = uptime(&snapshot);
    shared.health_cache.response(snapshot, uptime)
}

impl HealthCache {
    fn response(&self, snapshot: Arc<Snapshot>, uptime: u64) -> RouteResponse {
        let health_status = health_status(HealthEndpoint::Health, snapshot.lifecycle.state());
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, at, body)) if Arc::ptr_eq(of, &snapshot) && *at == uptime => {
                typed(health_status.code, JSON, body.clone())
            }
            _ => {
                let response = json(health_status.code, &view(&snapshot, health_status, uptime));
                *last = Some((snapshot, uptime, response.0.body().clone()));
                response
            }
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
        #[cfg(feature = "simulate")]
        simulated: crate::agent::simulate::is_active(),
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

/// `GET /livez` and `GET /readyz`. With `?verbose`, the response lists the checks.
pub(super) fn probe(probe: HealthEndpoint, request: &Request<Shared>) -> RouteResponse {
    let snapshot = request.state().api.published.get();
    let state = snapshot.lifecycle.state();
    let health_status = health_status(probe, state);
    let checks = has_key(request, "verbose").then(|| checks(probe, &snapshot.lifecycle));
    json(health_status.code, &ProbeView { status: health_status.status, state: state.as_str(), checks })
}

/// Whole seconds since the start, on the monotonic clock.
pub(super) fn uptime(snapshot: &Snapshot) -> u64 {
    clock::monotonic().saturating_sub(snapshot.lifecycle.started().monotonic).as_secs()
}

/// The state, each required part, each current fault.
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
fn has_key(request: &Request<Shared>, key: &str) -> bool {
    request.url().query_pairs().any(|(name, _)| name == key)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use statemachine::lifecycle::Limits;
    use statemachine::time::Now;

    use super::*;
    use crate::agent::snapshot::{HeartbeatView, Usage};

    fn snapshot() -> Arc<Snapshot> {
        let second = Duration::from_secs(1);
        let now = Now { monotonic: second, wall: SystemTime::UNIX_EPOCH };
        let limits = Limits { start: second, grace: second, refresh: second };
        Arc::new(Snapshot {
            agent_id: Arc::from("agent-001"),
            pid: 42,
            lifecycle: Arc::new(Machine::new(now, 7, 100, limits)),
            heartbeat: HeartbeatView::default(),
            usage: Usage::default(),
            http: None,
            https: false,
        })
    }

    #[test]
    fn the_cached_body_is_used_for_one_second_of_uptime_and_one_snapshot() {
        let cache = HealthCache::default();
        let first = snapshot();
        let body = |snapshot: &Arc<Snapshot>, uptime| cache.response(Arc::clone(snapshot), uptime).0.into_body();
        let uptime = |body: &Bytes| serde_json::from_slice::<serde_json::Value>(body).unwrap()["uptime"].as_u64();

        let at_5 = body(&first, 5);
        assert_eq!(uptime(&at_5), Some(5));
        assert_eq!(body(&first, 5).as_ptr(), at_5.as_ptr(), "served from the cache");
        assert_eq!(uptime(&body(&first, 6)), Some(6));

        let mut renamed = (*first).clone();
        renamed.agent_id = Arc::from("agent-002");
        let other = body(&Arc::new(renamed), 6);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&other).unwrap()["agent_id"], "agent-002");
    }
}
