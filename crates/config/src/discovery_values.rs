//! Types of values that only service discovery and views use: labels, the address of metrics, the host of targets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http_client::http_types::Url;
use serde_json::{Value as Json, json};

use super::host_names::is_host_name;
use super::node::{Entry, Kind, Node};
use super::paths::HttpAddress;
use super::raw::{Raw, ReadResult, invalid, quote};
use super::scalar::Scalar;
use super::values::ValueType;

/// The maximum number of labels of one agent.
const MAX_LABELS: usize = 32;

/// The maximum length of the name of a label, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The maximum length of the value of a label, in bytes.
const MAX_VALUE_BYTES: usize = 256;

/// The label that `/sd` itself gives to each target.
const AGENT_ID: &str = "agent_id";

/// Labels with their values. The names are those that Prometheus takes.
pub(super) struct LabelMap;

impl ValueType for LabelMap {
    type Value = BTreeMap<String, String>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Self::Value> {
        let Raw::Node(Node { kind: Kind::Map(entries), .. }) = raw else {
            let what = if raw.scalar().is_some() { "a single value" } else { "a list" };
            return invalid(format!("is {what}"), "write `NAME: value` lines below it, or `{}` for none");
        };
        if entries.len() > MAX_LABELS {
            return invalid(format!("has {} labels", entries.len()), format!("write at most {MAX_LABELS}"));
        }
        entries.iter().map(label).collect()
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        Some(json!(value).to_string())
    }

    fn description(&self) -> String {
        "names with texts".to_owned()
    }

    fn schema(&self) -> Json {
        json!({
            "type": "object",
            "maxProperties": MAX_LABELS,
            "propertyNames": {
                "pattern": "^(_|_?[A-Za-z][0-9A-Za-z_]*|_[0-9][0-9A-Za-z_]*)$",
                "maxLength": MAX_NAME_BYTES,
                "not": { "const": AGENT_ID },
            },
            "additionalProperties": { "type": ["string", "number", "boolean"], "maxLength": MAX_VALUE_BYTES },
        })
    }
}

fn label(Entry { key, value, .. }: &Entry) -> ReadResult<(String, String)> {
    let name = quote(key);
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name = key.starts_with(is_first) && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name || key.starts_with("__") || key.len() > MAX_NAME_BYTES {
        let remedy = format!(
            "write at most {MAX_NAME_BYTES} letters, digits and `_`, without a digit at the start, and without `__`"
        );
        return invalid(format!("contains {name}, which is not a name of a label"), remedy);
    }
    if key == AGENT_ID {
        return invalid(format!("contains {name}, which the daemon sets itself"), "use another name");
    }
    match Raw::Node(value).scalar() {
        Some((text, kind)) if kind != Scalar::Null => {
            if text.len() > MAX_VALUE_BYTES || text.contains(char::is_control) {
                let fact = format!("contains {name} with more than {MAX_VALUE_BYTES} bytes, or a control character");
                return invalid(fact, "write a shorter text on one line");
            }
            Ok((key.clone(), text.to_owned()))
        }
        _ => invalid(format!("contains {name} without a single value"), "write text, or `\"\"` for an empty value"),
    }
}

/// The address at which a program exposes metrics. The inner `None`: it is `none`.
pub(super) struct MetricsAddress;

const NONE: &str = "none";

impl ValueType for MetricsAddress {
    type Value = Option<Url>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Self::Value> {
        if raw.text() == Some(NONE) {
            return Ok(None);
        }
        let url = HttpAddress.read(raw)?;
        if url.query().is_some() || url.fragment().is_some() {
            let remedy = "remove the part from `?` or `#` on, and write it under `params` in Prometheus";
            return invalid("has a query or a fragment, which `/sd` cannot express", remedy);
        }
        Ok(Some(url))
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        Some(value.as_ref().map_or_else(|| NONE.to_owned(), ToString::to_string))
    }

    fn description(&self) -> String {
        format!("{} without a query, or `{NONE}`", HttpAddress.description())
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^(none$|https?://[^?#]+$)" })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// A host name or an IP address without a port. An IPv6 address is kept in brackets.
pub(super) struct TargetHost;

impl ValueType for TargetHost {
    type Value = String;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<String> {
        let text = raw.text().unwrap_or_default();
        match text.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(IpAddr::V6(address)) => Ok(format!("[{address}]")),
            Ok(IpAddr::V4(address)) => Ok(address.to_string()),
            Err(_) if is_host_name(text) => Ok(text.to_owned()),
            Err(_) => {
                invalid(format!("is {}", raw.describe()), "write a host name or an IP address, without scheme and port")
            }
        }
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn description(&self) -> String {
        "a host name or an IP address".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": r"^[0-9A-Za-z._:\[\]-]+$" })
    }

    fn is_text(&self) -> bool {
        true
    }
}
