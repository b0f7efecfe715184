//! The keys of service discovery: what Prometheus scrapes, and with which labels.

use std::collections::BTreeMap;

use http_client::http_types::Url;

use super::daemon::{AgentKind, HealthCheck};
use super::discovery_values::{LabelMap, MetricsAddress, TargetHost};
use super::key::Key;
use super::key::Reload::Live;
use super::key::key;
use super::scope::Scope;
use super::values::OrEmpty;

const LABELS: Key<LabelMap> = key(
    "labels",
    LabelMap,
    Live,
    "Labels for people and for Prometheus. They are in the API, and in `/sd` on each target. At most 32.",
);

const METRICS_ENDPOINT: Key<OrEmpty<MetricsAddress>> = key(
    "metrics_endpoint",
    OrEmpty(MetricsAddress),
    Live,
    "Where the program exposes metrics, for `/sd`. `none`: it exposes none.",
);

const SD_ADDRESS: Key<OrEmpty<TargetHost>> = key(
    "sd_address",
    OrEmpty(TargetHost),
    Live,
    "The host of all targets in `/sd`, for a Prometheus on another host. Empty: that of each address.",
);

/// Reads the host of all targets.
pub(super) fn sd_address(daemon: &Scope<'_>) -> Option<String> {
    daemon.value(&SD_ADDRESS, None)
}

/// Reads the labels of an agent.
pub(super) fn labels(item: &Scope<'_>) -> BTreeMap<String, String> {
    item.value(&LABELS, BTreeMap::new())
}

/// Reads where an agent exposes metrics.
pub(super) fn metrics_endpoint(item: &Scope<'_>, kind: AgentKind, health: &HealthCheck) -> Option<Url> {
    let shown =
        ("for `custom`, `/metrics` at the host and port of its `http_endpoint`", "http://127.0.0.1:8081/metrics");
    let given = item.computed(&METRICS_ENDPOINT, shown, || None);
    let endpoint = given.unwrap_or_else(|| default_metrics_endpoint(kind, health));
    // An empty value counts as absent.
    item.effective(METRICS_ENDPOINT.name, endpoint.as_ref().map(ToString::to_string));
    endpoint
}

/// Programs of others may serve their health and their metrics at different ports.
pub(super) fn default_metrics_endpoint(kind: AgentKind, health: &HealthCheck) -> Option<Url> {
    let mut url = health.http_endpoint.clone().filter(|_| kind == AgentKind::Custom)?;
    url.set_path("/metrics");
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}
