//! Heartbeats over HTTP.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http_client::http_types::Url;
use serde::Deserialize;
use serde_json::Value;

use super::failure::{Failure, Reason, Rejection, one_line};
use super::scheduler::MAX_RETRY_AFTER;
use super::{Deadline, StartSecret, Transport};
use ops_http::client::{Client, ClientLimits, RawStatus, RequestError};
use ops_http::tls::TlsClient;
use ops_protocol::heartbeat::{Heartbeat, SECRET_HEADER};
use ops_runtime::clock::{self, within};

pub(super) struct Http {
    client: surf::Client,
    url: Url,
    endpoint: String,
    /// Only where no other host can read it.
    secret: Option<StartSecret>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Http {
    pub(super) fn new(url: Url, tls: Option<TlsClient>, secret: Option<StartSecret>) -> Self {
        let secret = secret.filter(|_| is_confidential(&url));
        let client = surf::Client::with_http_client(Client::secured(ClientLimits::default(), tls));
        let endpoint = without_secrets(&url);
        Self { client, url, endpoint, secret }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) async fn send(&self, heartbeat: &Heartbeat, deadline: Deadline) -> Result<(), Failure> {
        self.post(heartbeat, deadline).await.map_err(|reason| Failure::new(Transport::Http, &self.endpoint, reason))
    }

    async fn post(&self, heartbeat: &Heartbeat, deadline: Deadline) -> Result<(), Reason> {
        let body = serde_json::to_vec(heartbeat).map_err(|error| Reason::Unsupported(error.into()))?;
        let mut request = surf::Request::new(surf::http::Method::Post, self.url.clone());
        request.set_body(body);
        request.insert_header("content-type", "application/json");
        request.insert_header("user-agent", concat!("ops-agent/", env!("CARGO_PKG_VERSION")));
        if let Some(StartSecret(secret)) = &self.secret {
            request.insert_header(SECRET_HEADER, &**secret);
        }

        let response = within(deadline.left(), self.client.send(request)).await;
        let mut response = response.ok_or(Reason::TimedOut(deadline.limit))?.map_err(reason)?;
        // The status decides. The body only explains a rejection, so one that is too long or never ends changes nothing. A
        // body that is read to its end leaves the connection for the next heartbeat.
        let body = within(deadline.left(), response.body_bytes()).await.and_then(Result::ok);
        let head: &surf::http::Response = response.as_ref();
        let status = head.ext().get::<RawStatus>().map_or(0, |status| status.0);
        if (200..300).contains(&status) {
            return Ok(());
        }
        let retry_after = matches!(status, 429 | 503).then(|| retry_after(&response)).flatten();
        Err(Reason::Rejected(Rejection {
            code: status.into(),
            message: body.as_deref().and_then(message),
            retry_after,
        }))
    }
}

/// Whether only this host, or the owner of a verified certificate, can read what is sent there.
fn is_confidential(url: &Url) -> bool {
    let is_loopback = url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    });
    url.scheme() == "https" || is_loopback
}

fn reason(error: surf::Error) -> Reason {
    match error.into_inner().downcast::<RequestError>() {
        Ok(error) if error.is_unreachable() => Reason::Unreachable(error.into()),
        Ok(error @ (RequestError::NoSuchHost(_) | RequestError::Refused(_) | RequestError::NotConnected(..))) => {
            Reason::NotConnected(error.into())
        }
        Ok(RequestError::Tls(fault)) => Reason::Tls(fault.into()),
        Ok(error @ RequestError::Closed(_)) => Reason::Closed(error.into()),
        Ok(error @ (RequestError::NotHttp(_) | RequestError::TooLong(_))) => Reason::InvalidResponse(error.into()),
        Ok(error @ RequestError::Unsupported(_)) => Reason::Unsupported(error.into()),
        Err(error) => Reason::Unsupported(error.into()),
    }
}

/// The address without its possible secrets: user, password, query and fragment.
fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for an address without a host, which has neither user nor password.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// The message in the body of an error response: `{"error": "…", "code": "…"}`, or a line of text.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        #[serde(alias = "message")]
        error: String,
        code: Option<Value>,
    }
    let text = match serde_json::from_slice(body) {
        Ok(ErrorBody { error, code: Some(Value::String(code)) }) => format!("{code}: {error}"),
        Ok(ErrorBody { error, code: _ }) => error,
        Err(_) => std::str::from_utf8(body).ok().filter(|text| !text.trim_start().starts_with('<'))?.to_owned(),
    };
    one_line(&text)
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(response: &surf::Response) -> Option<Duration> {
    pause(response.header("retry-after")?.last().as_str().trim())
}

fn pause(text: &str) -> Option<Duration> {
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(clock::wall()).unwrap_or_default(),
    };
    Some(pause.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_secret_stays_on_this_host_or_is_encrypted() {
        for url in ["http://127.0.0.1:8080/h", "http://[::1]:8080/h", "http://localhost/h", "https://192.0.2.1/h"] {
            assert!(is_confidential(&Url::parse(url).unwrap()), "{url}");
        }
        for url in ["http://192.0.2.1:8080/h", "http://example.org/h", "http://localhost.example.org/h"] {
            assert!(!is_confidential(&Url::parse(url).unwrap()), "{url}");
        }
    }

    #[test]
    fn the_endpoint_contains_no_secret() {
        let url = Url::parse("http://user:pass@127.0.0.1:8080/heartbeat?token=pass#pass").unwrap();
        assert_eq!(without_secrets(&url), "http://127.0.0.1:8080/heartbeat");
    }

    #[test]
    fn a_daemons_message_becomes_one_short_line() {
        let shown = |body: &str| message(body.as_bytes());
        assert_eq!(
            shown(r#"{"error":"invalid agent_id","code":"INVALID_AGENT_ID"}"#).unwrap(),
            "INVALID_AGENT_ID: invalid agent_id"
        );
        assert_eq!(shown(r#"{"message":"later"}"#).unwrap(), "later");
        assert_eq!(shown("no\r\nsuch \x1b[31magent\n").unwrap(), "no such [31magent");
        assert_eq!(shown("<html><body>502</body></html>"), None);
        assert_eq!(shown(" \n"), None);
        assert_eq!(shown(&"ä".repeat(1000)).unwrap().chars().count(), 201);
        assert_eq!(message(b"\xff\xfe"), None);
    }

    #[test]
    fn retry_after_is_read_in_seconds_or_as_a_date_and_limited_to_an_hour() {
        assert_eq!(pause("7"), Some(Duration::from_secs(7)));
        assert_eq!(pause("18446744073709551615"), Some(MAX_RETRY_AFTER));
        assert_eq!(pause("Fri, 31 Dec 9999 23:59:59 GMT"), Some(MAX_RETRY_AFTER));
        assert_eq!(pause("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(pause(nonsense), None, "{nonsense:?}");
        }
    }
}
