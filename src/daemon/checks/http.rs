//! The HTTP check: whether the agent's endpoint answers with 2xx.

use std::error::Error as _;
use std::fmt;
use std::future::pending;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{AsyncReadExt as _, FutureExt as _};
use http_client::http_types::Url;
use statemachine::lifecycle::State;

use super::{CHECK_TIMEOUT, CheckState, CheckStatus, Reason, Trouble};
use crate::daemon::own_fault::is_local;
use ops_http::client::{Client, ClientLimits, Lookups, RawStatus, RequestError};
use ops_http::tls::TlsClient;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::within;

/// The size limit of a `/health` that is read, in bytes.
const MAX_HEALTH: usize = 64 * 1024;

/// The time limit of a name look-up. Shorter than [`CHECK_TIMEOUT`], so that a slow name server is not taken for a slow agent.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);

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

/// Checks one endpoint. Each check opens a connection, because accepting one is part of what is checked.
///
/// Each agent has a client of its own, which tells whether its own request waits for a name server.
pub struct HttpCheck {
    client: surf::Client,
    lookups: Lookups,
    url: Url,
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
    /// A check of the endpoint at this URL. `tls` is needed for an `https` URL.
    ///
    /// # Errors
    ///
    /// [`BadEndpoint`] if the URL is not an HTTP endpoint.
    pub fn new(endpoint: &str, tls: Option<TlsClient>) -> Result<Self, BadEndpoint> {
        let url = Url::parse(endpoint).map_err(|error| BadEndpoint(error.to_string()))?;
        let is_supported = url.scheme() == "http" || (url.scheme() == "https" && tls.is_some());
        if !is_supported || url.host().is_none() {
            return Err(BadEndpoint(format!("the scheme `{}` is not supported", url.scheme())));
        }
        let client = Client::secured(ClientLimits::default(), tls);
        let lookups = client.lookups();
        Ok(Self { client: surf::Client::with_http_client(client), lookups, url })
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
        let late = || HttpCheckResult::Failed(format!("does not answer within {} s", CHECK_TIMEOUT.as_secs()));
        within(CHECK_TIMEOUT, answer.or(self.slow_lookup())).await.unwrap_or_else(late)
    }

    /// Ends only if the name is not resolved in time.
    async fn slow_lookup(&self) -> HttpCheckResult {
        Timer::after(LOOKUP_TIMEOUT).await;
        if !self.lookups.is_running() {
            return pending().await;
        }
        HttpCheckResult::NotTried(format!("its name was not resolved within {} s", LOOKUP_TIMEOUT.as_secs()))
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

/// The number of failures in a row from which on the check is bad.
pub const HTTP_FAILURES: u32 = 3;

/// What the HTTP checks of one process found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct HttpEvidence {
    state: Option<CheckState>,
    failures: Option<Failures>,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failures {
    count: u32,
    first: Duration,
    /// The last one that was counted. At most one in an interval counts, so more checks at the start do not fail faster.
    last: Duration,
}

impl HttpEvidence {
    pub(super) const fn state(&self) -> Option<&CheckState> {
        self.state.as_ref()
    }

    /// One failure is late.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let Failures { count, first, .. } = self.failures?;
        Some(Trouble { since: first, is_bad: count >= HTTP_FAILURES })
    }

    pub(super) fn record(
        &mut self,
        now: Duration,
        begun: Duration,
        interval: Duration,
        in_grace: bool,
        result: HttpCheckResult,
    ) {
        let status = match result {
            HttpCheckResult::Answered => {
                self.failures = None;
                CheckStatus::Ok
            }
            HttpCheckResult::Degraded => {
                self.failures = None;
                let before = self.state.take().map(|state| state.status);
                CheckStatus::Warning { reason: Reason::Degraded(None), since: now }.continuing(before.as_ref())
            }
            // Failures that were counted before are not undone.
            HttpCheckResult::NotTried(detail) if in_grace || self.failures.is_some() => CheckStatus::Unknown { detail },
            HttpCheckResult::NotTried(detail) => CheckStatus::NotPossible { detail },
            HttpCheckResult::Failed(detail) if in_grace => {
                CheckStatus::Unknown { detail: format!("{detail}, but has just started") }
            }
            HttpCheckResult::Failed(detail) => {
                let Failures { count, first, .. } = self.count_failure(begun, interval);
                if count >= HTTP_FAILURES {
                    CheckStatus::Bad { reason: Reason::HttpFailed(detail), since: first }
                } else {
                    CheckStatus::Unknown { detail: format!("{detail}, {count} of {HTTP_FAILURES} times in a row") }
                }
            }
        };
        self.state = Some(CheckState::at(now, status));
    }

    fn count_failure(&mut self, begun: Duration, interval: Duration) -> Failures {
        let failures = match self.failures {
            None => Failures { count: 1, first: begun, last: begun },
            Some(before) if begun.saturating_sub(before.last) < interval => before,
            Some(before) => Failures { count: before.count.saturating_add(1), last: begun, ..before },
        };
        *self.failures.insert(failures)
    }
}
