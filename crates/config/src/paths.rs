//! Types of values that are addresses or paths.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use http_client::http_types::Url;
use http_client::http_types::url::ParseError;

use ops_http::tls;
use serde_json::{Value as Json, json};

use super::mask::PEM;
use super::raw::{Raw, ReadResult, invalid, quote};
use super::values::ValueType;

/// An IP address, or `localhost`.
pub(super) struct Host;

impl ValueType for Host {
    type Value = IpAddr;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<IpAddr> {
        let address = match raw.text() {
            Some("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Some(text) => text.trim_start_matches('[').trim_end_matches(']').parse().ok(),
            None => None,
        };
        match address {
            Some(address) => Ok(address),
            None => {
                invalid(format!("is {}", raw.describe()), "write an IP address, such as `127.0.0.1`, or `localhost`")
            }
        }
    }

    fn show(&self, value: &IpAddr) -> Option<String> {
        Some(value.to_string())
    }

    fn description(&self) -> String {
        "an IP address or `localhost`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }

    fn is_text(&self) -> bool {
        true
    }
}

fn has_nul<T>(text: &str) -> ReadResult<T> {
    invalid(format!("is {}, which contains a NUL byte", quote(text)), "remove the NUL byte")
}

/// A warning about a path with characters that a shell, but not this program, gives a meaning to.
fn taken_literally(path: &Path) -> Option<(String, String)> {
    let text = path.to_str()?;
    let part = if text == "~" || text.starts_with("~/") {
        "~"
    } else if text.contains("${") {
        "${"
    } else {
        return None;
    };
    let fact = format!("is {}, in which `{part}` is taken literally", quote(text));
    Some((fact, "write the path in full".to_owned()))
}

/// The path of a file.
pub(super) struct FilePath;

impl ValueType for FilePath {
    type Value = PathBuf;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<PathBuf> {
        match raw.text() {
            None => invalid(format!("is {}", raw.describe()), "write a path"),
            Some("") => invalid("is empty", "write a path"),
            Some(text) if text.contains('\0') => has_nul(text),
            Some(text) if text.ends_with('/') || text.ends_with("/.") || matches!(text, "." | "..") => {
                invalid(format!("is {}, a directory", quote(text)), "write the path of a file")
            }
            Some(text) => Ok(PathBuf::from(text)),
        }
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }

    fn description(&self) -> String {
        "the path of a file".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1, "not": { "pattern": r"(^|/)\.?$|^\.\.$" } })
    }

    fn remark(&self, value: &PathBuf) -> Option<(String, String)> {
        taken_literally(value)
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The path of a PEM file. If the content of a file is pasted here by mistake, it is a secret.
pub(super) struct PemFile;

impl ValueType for PemFile {
    type Value = PathBuf;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<PathBuf> {
        if raw.text().is_some_and(|text| text.contains(PEM)) {
            return invalid(
                "is the content of a file",
                "write it to a file that only this user can read, and give its path",
            );
        }
        FilePath.read(raw)
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }

    fn description(&self) -> String {
        "the path of a PEM file".to_owned()
    }

    fn schema(&self) -> Json {
        FilePath.schema()
    }

    fn remark(&self, value: &PathBuf) -> Option<(String, String)> {
        taken_literally(value)
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The path of a directory.
pub(super) struct Directory;

impl ValueType for Directory {
    type Value = PathBuf;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<PathBuf> {
        match raw.text() {
            None => invalid(format!("is {}", raw.describe()), "write a path"),
            Some("") => invalid("is empty", "write a path"),
            Some(text) if text.contains('\0') => has_nul(text),
            Some(text) => Ok(PathBuf::from(text)),
        }
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }

    fn description(&self) -> String {
        "the path of a directory".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }

    fn remark(&self, value: &PathBuf) -> Option<(String, String)> {
        taken_literally(value)
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The absolute path of a program.
pub(super) struct ProgramPath;

impl ValueType for ProgramPath {
    type Value = PathBuf;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<PathBuf> {
        let path = FilePath.read(raw)?;
        if path.is_absolute() {
            return Ok(path);
        }
        invalid(
            format!("is {}, a relative path", quote(&path.display().to_string())),
            "write an absolute path, such as `/usr/local/bin/ops-agent`",
        )
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }

    fn description(&self) -> String {
        "the absolute path of a program".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^/.*[^/]$" })
    }

    fn remark(&self, value: &PathBuf) -> Option<(String, String)> {
        taken_literally(value)
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The destination of heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HeartbeatTarget {
    Http(Url),
    Unix(PathBuf),
}

impl HeartbeatTarget {
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
    type Value = HeartbeatTarget;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<HeartbeatTarget> {
        const UNIX: &str = "write `unix://` and an absolute path, such as `unix:///run/daemon.sock`";
        let text = raw.text().unwrap_or_default();
        match text.strip_prefix("unix://") {
            Some(path) if path.contains('\0') => has_nul(text),
            Some(path) if path.starts_with('/') && !path.ends_with('/') => {
                Ok(HeartbeatTarget::Unix(PathBuf::from(path)))
            }
            Some(_) => invalid(format!("is {}", quote(text)), UNIX),
            None => HttpAddress.read(raw).map(HeartbeatTarget::Http),
        }
    }

    fn show(&self, value: &HeartbeatTarget) -> Option<String> {
        match value {
            HeartbeatTarget::Http(url) => HttpAddress.show(url),
            HeartbeatTarget::Unix(path) => Some(format!("unix://{}", path.display())),
        }
    }

    fn description(&self) -> String {
        "`http://HOST:PORT/PATH`, `https://HOST:PORT/PATH` or `unix:///PATH`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^(https?://.|unix:///.)" })
    }

    fn remark(&self, value: &HeartbeatTarget) -> Option<(String, String)> {
        match value {
            HeartbeatTarget::Unix(path) => taken_literally(path),
            HeartbeatTarget::Http(_) => None,
        }
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// An `http://` or `https://` address without user and password.
pub(super) struct HttpAddress;

impl ValueType for HttpAddress {
    type Value = Url;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Url> {
        const EXAMPLE: &str = "write an address such as `http://127.0.0.1:8080/path`";
        let Some(text) = raw.text() else { return invalid(format!("is {}", raw.describe()), EXAMPLE) };
        let url = match Url::parse(text) {
            Ok(url) => url,
            // The Unicode tables for other host names are not part of this build.
            Err(ParseError::IdnaError) => {
                return invalid(format!("is {}, whose host is not a DNS name", quote(text)), "write its `xn--` form");
            }
            Err(error) => return invalid(format!("is {}, which is not an address: {error}", quote(text)), EXAMPLE),
        };
        match url.scheme() {
            _ if !url.username().is_empty() || url.password().is_some() => {
                invalid("contains a user name or a password", "remove it, because addresses appear in logs")
            }
            "https" if !tls::AVAILABLE => invalid(
                format!("is {}, and this build does not support TLS", quote(text)),
                "use `http://`, or a build with the feature `tls`",
            ),
            "http" | "https" if url.has_host() => Ok(url),
            _ => invalid(format!("is {}", quote(text)), EXAMPLE),
        }
    }

    fn show(&self, value: &Url) -> Option<String> {
        Some(value.to_string())
    }

    fn description(&self) -> String {
        "an `http://` or `https://` address".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^https?://." })
    }

    fn is_text(&self) -> bool {
        true
    }
}
