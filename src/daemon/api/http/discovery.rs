//! `/sd`: the agents as targets for Prometheus, in the format of `http_sd_configs`.

use std::collections::BTreeMap;

use http::Uri;
use serde::Serialize;

use crate::daemon::control::Endpoint;

/// A group with one target, because each target has its own labels.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Target {
    targets: [String; 1],
    labels: BTreeMap<&'static str, String>,
}

/// One target for each endpoint with a valid URL. Prometheus requests `/metrics` there, regardless of the path in the
/// URL.
pub(super) fn targets(endpoints: &[Endpoint]) -> Vec<Target> {
    endpoints.iter().filter_map(target).collect()
}

fn target(endpoint: &Endpoint) -> Option<Target> {
    let url: Uri = endpoint.url.parse().ok()?;
    let scheme = url.scheme_str()?;
    let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let mut labels = BTreeMap::from([("agent_id", endpoint.agent_id.clone())]);
    if scheme == "https" {
        labels.insert("__scheme__", scheme.to_owned());
    }
    Some(Target { targets: [format!("{}:{port}", url.host()?)], labels })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_with_a_port() {
        let of = |url: &str| targets(&[Endpoint { agent_id: "a".into(), url: url.into() }]);
        let json = |url: &str| serde_json::to_value(of(url)).unwrap();
        let plain = |target: &str| serde_json::json!([{"targets": [target], "labels": {"agent_id": "a"}}]);
        assert_eq!(json("http://127.0.0.1:9100/metrics"), plain("127.0.0.1:9100"));
        assert_eq!(json("http://[::1]:9101/health?x"), plain("[::1]:9101"));
        assert_eq!(json("http://host/"), plain("host:80"));
        assert_eq!(json("https://host/")[0]["labels"]["__scheme__"], "https");
        assert_eq!(json("https://host/")[0]["targets"][0], "host:443");
        assert!(of("").is_empty() && of("/health").is_empty() && of("host:1").is_empty());
    }
}
