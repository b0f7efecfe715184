//! The names that browsers may use for the daemon.

use serde_json::{Value as Json, json};

use super::raw::{Raw, ReadResult, invalid};
use super::values::{TextList, ValueType};

/// The maximum number of names.
const MAX_NAMES: usize = 64;

/// The maximum length of a name, in bytes, as in DNS.
const MAX_BYTES: usize = 253;

/// A list of host names, without ports.
pub(super) struct HostNames;

impl ValueType for HostNames {
    type Value = Vec<String>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Vec<String>> {
        let names = TextList.read(raw)?;
        if names.len() > MAX_NAMES {
            return invalid(format!("has {} names", names.len()), format!("write at most {MAX_NAMES}"));
        }
        match names.iter().position(|name| !is_host_name(name)) {
            Some(index) => invalid(
                format!("has item {}, which is not a host name", index + 1),
                "write names such as `ops.example.com`, without scheme and port",
            ),
            None => Ok(names),
        }
    }

    fn show(&self, value: &Vec<String>) -> Option<String> {
        TextList.show(value)
    }

    fn description(&self) -> String {
        "a list of host names".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "maxItems": MAX_NAMES, "items": {
            "type": "string", "maxLength": MAX_BYTES, "pattern": "^[0-9A-Za-z._-]+$",
        }})
    }
}

pub(super) fn is_host_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_BYTES).contains(&name.len()) && name.bytes().all(is_allowed)
}
