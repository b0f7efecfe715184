//! The HTTP check: whether the agent's endpoint answers with 2xx.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use futures_lite::{AsyncReadExt as _, FutureExt as _};
use http_client::http_types::Url;
use statemachine::lifecycle::State;

use super::Reason;
use super::name::slow_lookup;
use super::service::{ServiceResult, seconds};
use crate::daemon::own_fault::is_local;
use ops_http::client::{Client, ClientLimits, Lookups, RawStatus, RequestError};
use ops_http::tls::TlsClient;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::within;

/// The size limit of a `/health` that is read, in bytes.
const MAX_HEALTH: usize = 64 * 1024;

/// The result of one HTTP check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpCheckResult {
    /// 2xx, in time.
    Answered,
    /// 503 from an agent of this project that is degraded. It works, and says so.
    Degraded,
    /// Anything else, and what: "answers 503", "refuses connections".
    Failed(String),
    /// The request did not leave the daemon, and why.
    NotTried(String),
}

impl From<HttpCheckResult> for ServiceResult {
    fn from(result: HttpCheckResult) -> Self {
        match result {
            HttpCheckResult::Answered => Self::Passed,
            HttpCheckResult::Degraded => Self::Warned(Reason::Degraded(None)),
            HttpCheckResult::Failed(detail) => Self::Failed(detail),
            HttpCheckResult::NotTried(detail) => Self::NotTried(detail),
        }
    }
}

impl HttpCheckResult {
    /// The result of a check that took too long.
    pub(super) fn late(timeout: Duration) -> Self {
        Self::Failed(format!("does not answer within {}", seconds(timeout)))
    }
}

/// Checks one endpoint. Each check opens a connection, because accepting one is part of what is checked.
///
/// Each agent has a client of its own, which tells whether its own request waits for a name server.
pub struct HttpCheck {
    client: surf::Client,
    lookups: Lookups,
    url: Url,
    timeout: Duration,
}

/// The endpoint cannot be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEndpoint(String);

impl fmt::Display for BadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`http_endpoint` is not an HTTP address ({}): write it as http://127.0.0.1:9100/livez", self.0)
    }
}

impl std::error::Error for BadEndpoint {}

impl fmt::Debug for HttpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCheck").finish_non_exhaustive()
    }
}

impl HttpCheck {
    /// A check of the endpoint at this URL, which fails after `timeout`. `tls` is needed for an `https` URL.
    ///
    /// # Errors
    ///
    /// [`BadEndpoint`] if the URL is not an HTTP endpoint.
    pub fn new(endpoint: &str, timeout: Duration, tls: Option<TlsClient>) -> Result<Self, BadEndpoint> {
        let url = Url::parse(endpoint).map_err(|error| BadEndpoint(error.to_string()))?;
        let is_supported = url.scheme() == "http" || (url.scheme() == "https" && tls.is_some());
        if !is_supported || url.host().is_none() {
            return Err(BadEndpoint(format!("the scheme `{}` is not supported", url.scheme())));
        }
        let client = Client::secured(ClientLimits::default(), tls);
        let lookups = client.lookups();
        Ok(Self { client: surf::Client::with_http_client(client), lookups, url, timeout })
    }

    /// Checks it once.
    pub async fn check(&self) -> HttpCheckResult {
        let mut request = surf::Request::new(surf::http::Method::Get, self.url.clone());
        request.insert_header("user-agent", concat!("ops-agent-daemon/", env!("CARGO_PKG_VERSION")));
        let answer = async {
            match self.client.send(request).await {
                Ok(answer) => status(answer).await,
                Err(error) => failure(error),
            }
        };
        let late = || HttpCheckResult::late(self.timeout);
        let slow_lookup = async { HttpCheckResult::NotTried(slow_lookup(&self.lookups, self.timeout).await) };
        within(self.timeout, answer.or(slow_lookup)).await.unwrap_or_else(late)
    }
}

/// The head decides, so the connection ends here. Only a 503 may be the `/health` of an agent of this project that is degraded.
async fn status(mut answer: surf::Response) -> HttpCheckResult {
    let response: &surf::http::Response = answer.as_ref();
    match response.ext().get::<RawStatus>().map_or(0, |status| status.0) {
        200..300 => HttpCheckResult::Answered,
        503 if reports_degraded(&mut answer).await => HttpCheckResult::Degraded,
        code => HttpCheckResult::Failed(format!("answers {code}")),
    }
}

async fn reports_degraded(answer: &mut surf::Response) -> bool {
    #[derive(serde::Deserialize)]
    struct Health {
        state: String,
    }
    let length = answer.header("content-length").and_then(|length| length.as_str().parse().ok());
    let Some(length) = length.filter(|length| *length <= MAX_HEALTH) else { return false };
    let mut body = vec![0; length];
    // Not to its end, which would keep the connection for the next check.
    answer.read_exact(&mut body).await.is_ok()
        && serde_json::from_slice(&body).is_ok_and(|health: Health| health.state == State::Degraded.as_str())
}

fn failure(error: surf::Error) -> HttpCheckResult {
    let error = match error.into_inner().downcast::<RequestError>() {
        Ok(error) => error,
        Err(error) => return HttpCheckResult::NotTried(error.to_string()),
    };
    match error {
        // Nothing was sent, so nothing is known.
        RequestError::Unsupported(why) => HttpCheckResult::NotTried(why),
        RequestError::NoSuchHost(cause) => HttpCheckResult::NotTried(format!("its name cannot be resolved: {cause}")),
        RequestError::NotConnected(_, cause) if is_local(&cause) => {
            HttpCheckResult::NotTried(format!("the daemon cannot connect: {cause}"))
        }
        RequestError::Refused(_) => HttpCheckResult::Failed("refuses connections".to_owned()),
        RequestError::NotConnected(_, cause) => HttpCheckResult::Failed(format!("cannot be connected to: {cause}")),
        // The daemon's own certificate is missing or rejected: the agent may be well.
        RequestError::Tls(fault) if fault.is_local() => HttpCheckResult::NotTried(fault.to_string()),
        RequestError::Tls(fault) => HttpCheckResult::Failed(format!("fails over TLS: {fault}")),
        RequestError::Closed(cause) if is_broken_locally(&cause) => {
            HttpCheckResult::NotTried(format!("the daemon cannot send or receive: {}", with_causes(&cause)))
        }
        RequestError::Closed(_) => HttpCheckResult::Failed("closes the connection instead of answering".to_owned()),
        RequestError::NotHttp(_) => HttpCheckResult::Failed("answers something that is not HTTP".to_owned()),
        RequestError::TooLong(cause) => HttpCheckResult::Failed(format!("does not end its answer: {cause}")),
    }
}

/// Whether a connection broke because of this side.
fn is_broken_locally(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(is_local) {
            return true;
        }
        cause = error.source();
    }
    false
}
