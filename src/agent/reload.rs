//! A reload of the configuration: the request and its result. All or nothing.

use std::time::{Duration, SystemTime};

/// How many reloads may wait for the one in progress.
pub(super) const MAX_WAITING: usize = 64;

/// The result of a reload: when it was applied.
pub type ReloadResult = Result<SystemTime, ReloadError>;

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is invalid. The text is the output of `agent validate`.
    #[error("{0}")]
    Invalid(String),
    /// The configuration is valid, but changes a key that needs a restart.
    #[error("{0}")]
    NeedsRestart(String),
    /// The log cannot be opened as configured. The text is the error with its causes.
    #[error("{0}")]
    Log(String),
    /// No thread can be started for this work.
    #[error("cannot start a thread to {work}: {error}: raise the limit on processes")]
    NoThread {
        /// What the thread is needed for.
        work: &'static str,
        /// The system's error.
        error: String,
    },
    /// The configuration was not read in time.
    #[error("the configuration was not read within {0:?}: check its disk or network drive")]
    TooSlow(Duration),
    /// The requester did not get the result in time. The reload may still succeed.
    #[error("no result within {0:?}: the log will show it")]
    NoResult(Duration),
    /// The agent is starting or stopping.
    #[error("the agent is starting or stopping: try again once it is running")]
    NotNow,
    /// Too many requests wait.
    #[error("{MAX_WAITING} reloads wait already: try again later")]
    Busy,
}

/// A request for a reload.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Where it comes from, for the log: `SIGHUP` or `POST /reload`.
    pub by: String,
    /// Where the result goes, with room for one. `None`: the requester does not wait.
    pub reply: Option<smol::channel::Sender<ReloadResult>>,
}

impl ReloadRequest {
    /// Sends the result. The requester may have stopped waiting.
    pub fn reply(self, result: ReloadResult) {
        if let Some(reply) = self.reply {
            let _ = reply.try_send(result);
        }
    }
}
