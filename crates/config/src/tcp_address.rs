//! The type of a value that is a TCP address with a host name or an IP address.

use std::fmt;

use http_client::http_types::url::Host;
use serde_json::{Value as Json, json};

use super::raw::{Raw, ReadResult, invalid, quote};
use super::values::ValueType;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpAddress {
    /// The name or IP address of the host.
    pub host: Host<String>,
    /// The port.
    pub port: u16,
}

impl TcpAddress {
    /// Parses `HOST:PORT`, with an IPv6 address in brackets.
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|number: &u16| *number != 0 && !port.starts_with('+'))?;
        Some(Self { host: Host::parse(host).ok()?, port })
    }
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// `HOST:PORT`.
pub(super) struct HostAndPort;

impl ValueType for HostAndPort {
    type Value = TcpAddress;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<TcpAddress> {
        const REMEDY: &str = "write `HOST:PORT`, such as `127.0.0.1:5432` or `[::1]:5432`";
        match raw.text() {
            None => invalid(format!("is {}", raw.describe()), REMEDY),
            Some(text) => match TcpAddress::parse(text) {
                Some(address) => Ok(address),
                None => invalid(format!("is {}", quote(text)), REMEDY),
            },
        }
    }

    fn show(&self, value: &TcpAddress) -> Option<String> {
        Some(value.to_string())
    }

    fn description(&self) -> String {
        "`HOST:PORT`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^.+:[0-9]{1,5}$" })
    }

    fn is_text(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:5432", "localhost:1", "db.example:65535", "[::1]:80"] {
            assert_eq!(TcpAddress::parse(text).map(|address| address.to_string()).as_deref(), Some(text));
        }
        for text in
            ["", ":80", "localhost", "localhost:", "localhost:0", "localhost:65536", "a:+1", "::1:80", "a b:1", "u@h:1"]
        {
            assert_eq!(TcpAddress::parse(text), None, "{text:?}");
        }
    }
}
