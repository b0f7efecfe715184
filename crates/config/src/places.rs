//! Values that say where something is: addresses and paths.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use http_client::http_types::Url;
use http_client::http_types::url::ParseError;

use super::mask::PEM;
use super::values::{Raw, Read, fault, quote};
use ops_http::tls;

/// An IP address, or `localhost`.
pub(super) fn host(raw: &Raw<'_>) -> Read<IpAddr> {
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

/// The path of a file.
pub(super) fn path(raw: &Raw<'_>) -> Read<PathBuf> {
    match raw.text() {
        None => fault(format!("is {}", raw.describe()), "write a path"),
        Some("") => fault("is empty", "write a path"),
        Some(text) if text.ends_with('/') || text.ends_with("/.") || matches!(text, "." | "..") => {
            fault(format!("is {}, a directory", quote(text)), "write the path of a file")
        }
        Some(text) => Ok(PathBuf::from(text)),
    }
}

/// The path of a file in PEM form. Somebody may have put the file's content there, which nobody else is to see.
pub(super) fn pem_file(raw: &Raw<'_>) -> Read<PathBuf> {
    if raw.text().is_some_and(|text| text.contains(PEM)) {
        return fault("is the content of a file", "write it to a file that only this user can read, and give its path");
    }
    path(raw)
}

/// The path of a directory.
pub(super) fn directory(raw: &Raw<'_>) -> Read<PathBuf> {
    match raw.text() {
        None => fault(format!("is {}", raw.describe()), "write a path"),
        Some("") => fault("is empty", "write a path"),
        Some(text) => Ok(PathBuf::from(text)),
    }
}

/// The path of a program, from the root.
pub(super) fn program(raw: &Raw<'_>) -> Read<PathBuf> {
    let path = path(raw)?;
    if path.is_absolute() {
        return Ok(path);
    }
    fault(
        format!("is {}, a relative path", quote(&path.display().to_string())),
        "write it from the root, such as `/usr/local/bin/agent`",
    )
}

/// Where a daemon takes heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Http(Url),
    Unix(PathBuf),
}

/// An `http://` or `https://` address, or `unix://` and an absolute path.
pub(super) fn endpoint(raw: &Raw<'_>) -> Read<Endpoint> {
    const UNIX: &str = "write `unix://` and an absolute path, such as `unix:///run/daemon.sock`";
    let text = raw.text().unwrap_or_default();
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') && !path.ends_with('/') => Ok(Endpoint::Unix(PathBuf::from(path))),
        Some(_) => fault(format!("is {}", quote(text)), UNIX),
        None => http_address(raw).map(Endpoint::Http),
    }
}

/// An `http://` or `https://` address without user and password.
pub(super) fn http_address(raw: &Raw<'_>) -> Read<Url> {
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
