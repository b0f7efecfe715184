//! Values that say where something is: addresses and paths.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use http_client::http_types::Url;
use http_client::http_types::url::ParseError;

use ops_http::tls;
use serde_json::{Value as Json, json};

use super::mask::PEM;
use super::raw::{Raw, Read, fault, quote};
use super::values::ValueType;

/// An IP address, or `localhost`.
pub(super) struct Host;

impl ValueType for Host {
    type Value = IpAddr;

    fn read(&self, raw: &Raw<'_>) -> Read<IpAddr> {
        let address = match raw.text() {
            Some("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Some(text) => text.trim_start_matches('[').trim_end_matches(']').parse().ok(),
            None => None,
        };
        match address {
            Some(address) => Ok(address),
            None => fault(format!("is {}", raw.describe()), "write an IP address, such as `127.0.0.1`, or `localhost`"),
        }
    }

    fn show(&self, value: &IpAddr) -> Option<String> {
        Some(value.to_string())
    }

    fn words(&self) -> String {
        "an IP address or `localhost`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The path of a file.
pub(super) struct FilePath;

impl ValueType for FilePath {
    type Value = PathBuf;

    fn read(&self, raw: &Raw<'_>) -> Read<PathBuf> {
        match raw.text() {
            None => fault(format!("is {}", raw.describe()), "write a path"),
            Some("") => fault("is empty", "write a path"),
            Some(text) if text.ends_with('/') || text.ends_with("/.") || matches!(text, "." | "..") => {
                fault(format!("is {}, a directory", quote(text)), "write the path of a file")
            }
            Some(text) => Ok(PathBuf::from(text)),
        }
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }

    fn words(&self) -> String {
        "the path of a file".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1, "not": { "pattern": r"(^|/)\.?$|^\.\.$" } })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The path of a file in PEM form. The content of the file may stand there by mistake: it is a secret.
pub(super) struct PemFile;

impl ValueType for PemFile {
    type Value = PathBuf;

    fn read(&self, raw: &Raw<'_>) -> Read<PathBuf> {
        if raw.text().is_some_and(|text| text.contains(PEM)) {
            return fault(
                "is the content of a file",
                "write it to a file that only this user can read, and give its path",
            );
        }
        FilePath.read(raw)
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }

    fn words(&self) -> String {
        "the path of a PEM file".to_owned()
    }

    fn schema(&self) -> Json {
        FilePath.schema()
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The path of a directory.
pub(super) struct Directory;

impl ValueType for Directory {
    type Value = PathBuf;

    fn read(&self, raw: &Raw<'_>) -> Read<PathBuf> {
        match raw.text() {
            None => fault(format!("is {}", raw.describe()), "write a path"),
            Some("") => fault("is empty", "write a path"),
            Some(text) => Ok(PathBuf::from(text)),
        }
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }

    fn words(&self) -> String {
        "the path of a directory".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The path of a program, from the root.
pub(super) struct Program;

impl ValueType for Program {
    type Value = PathBuf;

    fn read(&self, raw: &Raw<'_>) -> Read<PathBuf> {
        let path = FilePath.read(raw)?;
        if path.is_absolute() {
            return Ok(path);
        }
        fault(
            format!("is {}, a relative path", quote(&path.display().to_string())),
            "write it from the root, such as `/usr/local/bin/agent`",
        )
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }

    fn words(&self) -> String {
        "the absolute path of a program".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^/.*[^/]$" })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// Where a daemon takes heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Http(Url),
    Unix(PathBuf),
}

impl Endpoint {
    pub(super) fn http(self) -> Option<Url> {
        match self {
            Self::Http(url) => Some(url),
            Self::Unix(_) => None,
        }
    }

    pub(super) fn unix(self) -> Option<PathBuf> {
        match self {
            Self::Http(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

/// An `http://` or `https://` address, or `unix://` and an absolute path.
pub(super) struct HeartbeatAddress;

impl ValueType for HeartbeatAddress {
    type Value = Endpoint;

    fn read(&self, raw: &Raw<'_>) -> Read<Endpoint> {
        const UNIX: &str = "write `unix://` and an absolute path, such as `unix:///run/daemon.sock`";
        let text = raw.text().unwrap_or_default();
        match text.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') && !path.ends_with('/') => Ok(Endpoint::Unix(PathBuf::from(path))),
            Some(_) => fault(format!("is {}", quote(text)), UNIX),
            None => HttpAddress.read(raw).map(Endpoint::Http),
        }
    }

    fn show(&self, value: &Endpoint) -> Option<String> {
        match value {
            Endpoint::Http(url) => HttpAddress.show(url),
            Endpoint::Unix(path) => Some(format!("unix://{}", path.display())),
        }
    }

    fn words(&self) -> String {
        "`http://HOST:PORT/PATH`, `https://HOST:PORT/PATH` or `unix:///PATH`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^(https?://.|unix:///.)" })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// An `http://` or `https://` address without user and password.
pub(super) struct HttpAddress;

impl ValueType for HttpAddress {
    type Value = Url;

    fn read(&self, raw: &Raw<'_>) -> Read<Url> {
        const EXAMPLE: &str = "write an address such as `http://127.0.0.1:8080/path`";
        let Some(text) = raw.text() else { return fault(format!("is {}", raw.describe()), EXAMPLE) };
        let url = match Url::parse(text) {
            Ok(url) => url,
            // Names in other letters need tables that this build does without.
            Err(ParseError::IdnaError) => {
                return fault(format!("is {}, whose host is no name of DNS", quote(text)), "write its `xn--` form");
            }
            Err(error) => return fault(format!("is {}, which is no address: {error}", quote(text)), EXAMPLE),
        };
        match url.scheme() {
            _ if !url.username().is_empty() || url.password().is_some() => {
                fault("has a user or a password in it", "remove them: an address is logged and shown")
            }
            "https" if !tls::AVAILABLE => fault(
                format!("is {}, and TLS is not in this build", quote(text)),
                "use `http://` on this host or a trusted network, or a build with the feature `tls`",
            ),
            "http" | "https" if url.has_host() => Ok(url),
            _ => fault(format!("is {}", quote(text)), EXAMPLE),
        }
    }

    fn show(&self, value: &Url) -> Option<String> {
        Some(value.to_string())
    }

    fn words(&self) -> String {
        "an `http://` or `https://` address".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^https?://." })
    }

    fn is_text(&self) -> bool {
        true
    }
}
