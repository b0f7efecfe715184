//! The TCP check: whether the agent's port accepts connections.

use std::fmt;
use std::time::Duration;

use futures_lite::FutureExt as _;

use super::name::slow_lookup;
use super::service::{ServiceResult, seconds};
use crate::daemon::own_fault::is_local;
use ops_config::daemon::TcpAddress;
use ops_http::client::{Lookups, RequestError, TcpTarget};
use ops_runtime::clock::within;

/// The result of one TCP check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpCheckResult {
    /// A connection was accepted, in time.
    Accepted,
    /// None was, and why.
    Failed(String),
    /// The attempt did not leave the daemon, and why.
    NotTried(String),
}

impl From<TcpCheckResult> for ServiceResult {
    fn from(result: TcpCheckResult) -> Self {
        match result {
            TcpCheckResult::Accepted => Self::Passed,
            TcpCheckResult::Failed(detail) => Self::Failed(detail),
            TcpCheckResult::NotTried(detail) => Self::NotTried(detail),
        }
    }
}

impl TcpCheckResult {
    /// The result of a check that took too long.
    pub(super) fn late(timeout: Duration) -> Self {
        Self::Failed(format!("accepts no connection within {}", seconds(timeout)))
    }
}

/// Checks one port. The connection is closed at once.
pub struct TcpCheck {
    target: TcpTarget,
    lookups: Lookups,
    timeout: Duration,
}

impl fmt::Debug for TcpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpCheck").finish_non_exhaustive()
    }
}

impl TcpCheck {
    /// A check of this address, which fails after `timeout`.
    #[must_use]
    pub fn new(address: &TcpAddress, timeout: Duration) -> Self {
        let target = TcpTarget::new(address.host.clone(), address.port);
        let lookups = target.lookups();
        Self { target, lookups, timeout }
    }

    /// Checks it once.
    pub async fn check(&self) -> TcpCheckResult {
        let accepted = async {
            match self.target.connect().await {
                Ok(()) => TcpCheckResult::Accepted,
                Err(error) => failure(error),
            }
        };
        let slow_lookup = async { TcpCheckResult::NotTried(slow_lookup(&self.lookups, self.timeout).await) };
        let late = || TcpCheckResult::late(self.timeout);
        within(self.timeout, accepted.or(slow_lookup)).await.unwrap_or_else(late)
    }
}

fn failure(error: RequestError) -> TcpCheckResult {
    match error {
        RequestError::NoSuchHost(cause) => TcpCheckResult::NotTried(format!("its name cannot be resolved: {cause}")),
        RequestError::NotConnected(_, cause) if is_local(&cause) => {
            TcpCheckResult::NotTried(format!("the daemon cannot connect: {cause}"))
        }
        RequestError::Refused(_) => TcpCheckResult::Failed("refuses connections".to_owned()),
        RequestError::NotConnected(_, cause) => TcpCheckResult::Failed(format!("cannot be connected to: {cause}")),
        // These follow only after a connection.
        RequestError::Unsupported(_)
        | RequestError::Tls(_)
        | RequestError::Closed(_)
        | RequestError::NotHttp(_)
        | RequestError::TooLong(_) => TcpCheckResult::Accepted,
    }
}
