//! A reload: who asks, and what comes of it. All or nothing.

use std::fmt;
use std::time::SystemTime;

/// What came of a reload.
pub type ReloadResult = Result<SystemTime, ReloadError>;

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadError {
    /// The file is not right. The text is the one that `agent validate` prints.
    Invalid(String),
    /// The file is right, but asks for what only a restart can do.
    NeedsRestart(String),
    /// It could not be applied.
    Failed(String),
    /// The agent is starting or stopping.
    NotNow,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) | Self::NeedsRestart(text) | Self::Failed(text) => f.write_str(text),
            Self::NotNow => f.write_str("the agent is starting or stopping: ask again once it is running"),
        }
    }
}

impl std::error::Error for ReloadError {}

/// Somebody asks for a reload and may wait for what comes of it.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Who asks, for the log: `SIGHUP`, or a peer.
    pub by: String,
    /// Where the result goes. Room for one.
    pub reply: Option<smol::channel::Sender<ReloadResult>>,
}

impl ReloadRequest {
    /// Answers whoever asked. It is fine if nobody waits any more.
    pub fn answer(self, result: ReloadResult) {
        if let Some(reply) = self.reply {
            let _ = reply.try_send(result);
        }
    }
}
