//! Name look-ups of checks: a slow name server is not taken for a slow agent.

use std::future::pending;
use std::time::Duration;

use async_io::Timer;

use super::service::seconds;
use ops_http::client::Lookups;

/// The part of a check's time limit that a look-up may take.
const SHARE: (u32, u32) = (4, 5);

/// Ends only if the name is not resolved in time, with the reason for people. `timeout` is the time limit of the check.
pub(super) async fn slow_lookup(lookups: &Lookups, timeout: Duration) -> String {
    let limit = timeout * SHARE.0 / SHARE.1;
    Timer::after(limit).await;
    if !lookups.is_running() {
        return pending().await;
    }
    format!("its name was not resolved within {}", seconds(limit))
}
