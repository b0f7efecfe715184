//! `/sd`: the agents as targets for Prometheus, in the format of `http_sd_configs`.

use std::collections::BTreeMap;

use http::Uri;
use serde::Serialize;

use crate::daemon::control::ScrapeTarget;
use crate::daemon::effects::Description;

/// A group with one target, because each target has its own labels.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Target {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

/// One target for each agent with a valid URL.
pub(super) fn targets(agents: Vec<ScrapeTarget>) -> Vec<Target> {
    agents.into_iter().filter_map(target).collect()
}

/// The labels that an operator has chosen are on each series. The others begin with `__meta_`, so Prometheus drops them unless
/// its configuration relabels them: a state in a series would begin another one at each change.
fn target(agent: ScrapeTarget) -> Option<Target> {
    let ScrapeTarget { agent_id, state, description: Description { name, kind, labels, metrics_url } } = agent;
    let url: Uri = metrics_url?.parse().ok()?;
    let scheme = url.scheme_str()?;
    let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let mut labels = labels;
    let mut set = |name: &str, value: &str| drop(labels.insert(name.to_owned(), value.to_owned()));
    set("agent_id", &agent_id);
    set("__meta_ops_agent_name", &name);
    set("__meta_ops_agent_type", kind);
    set("__meta_ops_agent_state", state.as_str());
    if scheme == "https" {
        set("__scheme__", scheme);
    }
    if url.path() != "/metrics" {
        set("__metrics_path__", url.path());
    }
    Some(Target { targets: [format!("{}:{port}", url.host()?)], labels })
}

#[cfg(test)]
pub(crate) mod tests {
    use statemachine::supervision::State;

    use super::*;

    fn of(url: &str) -> serde_json::Value {
        let description = Description {
            name: "A".to_owned(),
            kind: "custom",
            labels: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
            metrics_url: Some(url.to_owned()),
        };
        let agent = ScrapeTarget { agent_id: "a".to_owned(), state: State::Running, description };
        serde_json::to_value(targets(vec![agent])).unwrap()
    }

    #[test]
    fn a_target_is_a_host_with_a_port_and_its_labels() {
        let expected = serde_json::json!([{"targets": ["127.0.0.1:9100"], "labels": {
            "__meta_ops_agent_name": "A",
            "__meta_ops_agent_state": "running",
            "__meta_ops_agent_type": "custom",
            "agent_id": "a",
            "rack": "r1",
        }}]);
        assert_eq!(of("http://127.0.0.1:9100/metrics"), expected);
        assert_eq!(of("http://[::1]:9101/metrics")[0]["targets"][0], "[::1]:9101");
        assert_eq!(of("http://host/metrics")[0]["targets"][0], "host:80");
        assert_eq!(of("http://host/other")[0]["labels"]["__metrics_path__"], "/other");
        assert_eq!(of("https://host/metrics")[0]["labels"]["__scheme__"], "https");
        assert_eq!(of("https://host/metrics")[0]["targets"][0], "host:443");
        for invalid in ["", "/metrics", "host:1"] {
            assert_eq!(of(invalid), serde_json::json!([]), "{invalid}");
        }
    }
}
