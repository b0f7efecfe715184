//! A request as it comes, and what it has to be before a handler sees it: whole, within the limits, unambiguous.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Request, Uri, Version};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};

use super::refusal::Refusal;

/// Checks the head.
///
/// # Errors
///
/// [`Refusal`] for what is ambiguous, and so could be read otherwise by a proxy or a library in between.
pub(super) fn check_head(request: &Request<Incoming>, body_bytes: usize) -> Result<(), Refusal> {
    check_target(request.uri())?;
    check_headers(request.headers())?;
    check_host(request.headers(), request.version())?;
    // More than the bytes that may come is refused before they do.
    let too_large = request.body().size_hint().lower() > u64::try_from(body_bytes).unwrap_or(u64::MAX);
    if too_large { Err(Refusal::body_too_large(body_bytes)) } else { Ok(()) }
}

/// Reads the body.
///
/// # Errors
///
/// [`Refusal`] if it is too long, or broken.
pub(super) async fn read_body(body: Incoming, body_bytes: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, body_bytes).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::body_too_large(body_bytes)),
        Err(_) => Err(Refusal::invalid("the body is broken: its chunks do not add up")),
    }
}

/// The target has to be a path, whatever form it is given in. An authority in it decides nothing here.
fn check_target(uri: &Uri) -> Result<(), Refusal> {
    if uri.path().starts_with('/') {
        Ok(())
    } else {
        Err(Refusal::invalid("the request target is not a path: begin it with `/`"))
    }
}

/// http-types panics on other bytes than ASCII, and a coding that nobody undoes hides what is sent.
fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some((name, _)) = headers.iter().find(|(_, value)| value.to_str().is_err()) {
        return Err(Refusal::invalid(format!("the header `{name}` has bytes that are not visible ASCII: encode them")));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let only_chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !only_chunked || codings.next().is_some() {
        return Err(Refusal::invalid("the only transfer coding understood is one `chunked`"));
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::invalid("both a length and a transfer coding are given: send one"));
    }
    Ok(())
}

fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(Refusal::invalid("the header `host` is missing: HTTP/1.1 asks for it")),
        (Some(_), Some(_)) => Err(Refusal::invalid("the header `host` is given twice")),
        (Some(host), None) if is_authority(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err(Refusal::invalid("the header `host` is not a name or address with an optional port")),
    }
}

/// Nothing but a host and perhaps a port: no user, no path, nothing to be taken for part of a URL.
fn is_authority(host: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_~:[]%".contains(byte);
    let Some(authority) = Authority::try_from(host).ok().filter(|_| host.iter().all(plain)) else { return false };
    // http takes anything for a port.
    let port = authority.as_str().strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
    port.is_none_or(|port| port.parse::<u16>().is_ok())
}
