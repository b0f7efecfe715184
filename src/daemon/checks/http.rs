//! Asking an agent's HTTP endpoint.

use std::error::Error as _;
use std::fmt;
use std::future::pending;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt as _;
use http_client::http_types::Url;

use crate::daemon::own_fault::is_local;
use crate::daemon::registry::CHECK_TIMEOUT;
use crate::daemon::verdict::HttpCheckResult;
use ops_http::client::{Client, ClientLimits, Lookups, RawStatus, RequestError};
use ops_http::tls::TlsClient;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::within;

/// How long the look-up of a name may take. Less than the whole, so that the driver, whose deadline is the same, hears of it.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);

/// Asks one endpoint, always on a connection of its own: that the agent accepts one is part of what is checked.
///
/// One for each agent: a name that is looked up for one must not keep another waiting.
pub struct HttpCheck {
    client: surf::Client,
    lookups: Lookups,
    url: Url,
}

/// The endpoint cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEndpoint(String);

impl fmt::Display for BadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`http_endpoint` is no HTTP address ({}): write it as http://127.0.0.1:9100/health", self.0)
    }
}

impl std::error::Error for BadEndpoint {}

impl fmt::Debug for HttpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCheck").finish_non_exhaustive()
    }
}

impl HttpCheck {
    /// A check of the endpoint at this URL. `tls` is needed for an `https` URL.
    ///
    /// # Errors
    ///
    /// [`BadEndpoint`] if the URL is not an HTTP endpoint.
    pub fn new(endpoint: &str, tls: Option<TlsClient>) -> Result<Self, BadEndpoint> {
        let url = Url::parse(endpoint).map_err(|error| BadEndpoint(error.to_string()))?;
        let spoken = url.scheme() == "http" || (url.scheme() == "https" && tls.is_some());
        if !spoken || url.host().is_none() {
            return Err(BadEndpoint(format!("`{}` is not spoken here", url.scheme())));
        }
        let client = Client::secured(ClientLimits::default(), tls);
        let lookups = client.lookups();
        Ok(Self { client: surf::Client::with_http_client(client), lookups, url })
    }

    /// Asks it once.
    pub async fn check(&self) -> HttpCheckResult {
        let mut request = surf::Request::new(surf::http::Method::Get, self.url.clone());
        request.insert_header("user-agent", concat!("ops-agent-daemon/", env!("CARGO_PKG_VERSION")));
        let answer = async { self.client.send(request).await.map_or_else(told, |answer| judge(&answer)) };
        let late = || HttpCheckResult::Failed(format!("does not answer within {} s", CHECK_TIMEOUT.as_secs()));
        within(CHECK_TIMEOUT, answer.or(self.nameless())).await.unwrap_or_else(late)
    }

    /// Ends only if the name is not known in time.
    async fn nameless(&self) -> HttpCheckResult {
        Timer::after(LOOKUP_TIMEOUT).await;
        if !self.lookups.is_running() {
            return pending().await;
        }
        HttpCheckResult::NotTried(format!("its name was not looked up within {} s", LOOKUP_TIMEOUT.as_secs()))
    }
}

/// The head decides; the body is not read, so the connection ends here.
fn judge(answer: &surf::Response) -> HttpCheckResult {
    let response: &surf::http::Response = answer.as_ref();
    match response.ext().get::<RawStatus>().map_or(0, |status| status.0) {
        200..300 => HttpCheckResult::Answered,
        code => HttpCheckResult::Failed(format!("answers {code}")),
    }
}

fn told(error: surf::Error) -> HttpCheckResult {
    let error = match error.into_inner().downcast::<RequestError>() {
        Ok(error) => error,
        Err(error) => return HttpCheckResult::NotTried(error.to_string()),
    };
    match error {
        // Nothing was sent, so nothing was found out.
        RequestError::Unsupported(why) => HttpCheckResult::NotTried(why),
        RequestError::NoSuchHost(cause) => HttpCheckResult::NotTried(format!("its name leads to no address: {cause}")),
        RequestError::NotConnected(_, cause) if is_local(&cause) => {
            HttpCheckResult::NotTried(format!("the daemon cannot connect: {cause}"))
        }
        RequestError::Refused(_) => HttpCheckResult::Failed("refuses connections".to_owned()),
        RequestError::NotConnected(_, cause) => HttpCheckResult::Failed(format!("cannot be connected to: {cause}")),
        // A certificate that the agent does not take, or misses, is the daemon's, and the agent may be well.
        RequestError::Tls(fault) if fault.is_local() => HttpCheckResult::NotTried(fault.to_string()),
        RequestError::Tls(fault) => HttpCheckResult::Failed(format!("cannot be asked over TLS: {fault}")),
        RequestError::Broken(cause) if is_own(&cause) => {
            HttpCheckResult::NotTried(format!("the daemon cannot send or receive: {}", with_causes(&cause)))
        }
        RequestError::Broken(_) => HttpCheckResult::Failed("closes the connection instead of answering".to_owned()),
        RequestError::Garbled(_) => HttpCheckResult::Failed("answers something that is not HTTP".to_owned()),
    }
}

/// Whether a connection broke off for want of something at this end.
fn is_own(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(is_local) {
            return true;
        }
        cause = error.source();
    }
    false
}
