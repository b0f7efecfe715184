//! Hooks, after validation: what is told of the agents' troubles, and of which.

use std::fmt;

use http_client::http_types::Url;
use ops_http::tls::ClientFiles;

/// What a hook can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookEvent {
    /// An agent is Failed.
    Failed,
    /// An agent is Unhealthy.
    Unhealthy,
    /// An agent that was Failed or Unhealthy is Running.
    Recovered,
    /// An agent is started again.
    Restarted,
    /// Restarts are held.
    Held,
}

impl HookEvent {
    /// All events.
    pub const ALL: [Self; 5] = [Self::Failed, Self::Unhealthy, Self::Recovered, Self::Restarted, Self::Held];

    /// Its word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Unhealthy => "unhealthy",
            Self::Recovered => "recovered",
            Self::Restarted => "restarted",
            Self::Held => "held",
        }
    }

    /// The event with this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == word)
    }
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSpec {
    /// The events that it is told of.
    pub on: Vec<HookEvent>,
    /// The agents that it is told of. Empty: all.
    pub agents: Vec<String>,
    /// What is told.
    pub target: HookTarget,
    /// Whether it is told the last output of the agent.
    pub include_output: bool,
}

/// What a hook tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookTarget {
    /// A program with its arguments. The program has an absolute path.
    Exec(Vec<String>),
    /// An HTTP endpoint.
    Webhook(WebhookUrl, ClientFiles),
}

/// The address of a webhook. Its path is often all that a sender needs, so text shows only the part before it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(pub(super) Url);

impl HookSpec {
    /// Whether it is told of this event. `agent` is the agent of the event. Without one, the event concerns all agents.
    #[must_use]
    pub fn concerns(&self, event: HookEvent, agent: Option<&str>) -> bool {
        let is_of = |id: &str| self.agents.is_empty() || self.agents.iter().any(|known| known == id);
        self.on.contains(&event) && agent.is_none_or(is_of)
    }

    /// The TLS files of a webhook, if its address is `https`.
    pub(super) fn secure(&self) -> Option<&ClientFiles> {
        match &self.target {
            HookTarget::Webhook(WebhookUrl(url), files) => Some(files).filter(|_| url.scheme() == "https"),
            HookTarget::Exec(_) => None,
        }
    }
}

impl WebhookUrl {
    /// The whole address.
    #[must_use]
    pub const fn reveal(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        self.0.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for HookTarget {
    /// Without arguments, which may be secrets too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec(command) => f.write_str(command.first().map_or("", |program| program)),
            Self::Webhook(url, _) => write!(f, "{url}"),
        }
    }
}
