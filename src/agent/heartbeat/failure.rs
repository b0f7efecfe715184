//! Why a heartbeat was not delivered, and what to do about it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A heartbeat that was not delivered, as far as one can know.
#[derive(Debug)]
pub struct Failure {
    endpoint: String,
    /// What went wrong.
    pub reason: Reason,
    /// What had gone wrong over HTTP before the socket was tried.
    before: Option<Box<Self>>,
}

/// Why a heartbeat was not delivered.
#[derive(Debug)]
pub enum Reason {
    /// Nobody is there: no such host, no such socket, or nobody listens.
    Unreachable(Box<dyn Error + Send + Sync>),
    /// Somebody may be there, but no connection came about.
    NotConnected(Box<dyn Error + Send + Sync>),
    /// A connection came about, but no TLS on it.
    Distrusted(Box<dyn Error + Send + Sync>),
    /// It took longer than this.
    TimedOut(Duration),
    /// The daemon closed the connection instead of answering.
    Closed(Box<dyn Error + Send + Sync>),
    /// The daemon answered, and said no.
    Rejected(Rejection),
    /// The answer cannot be a daemon's.
    Garbled(Box<dyn Error + Send + Sync>),
    /// The heartbeat cannot be sent to such an address.
    Unsupported(Box<dyn Error + Send + Sync>),
}

/// A daemon's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The HTTP status, or the error code of JSON-RPC, which is negative by custom.
    pub code: i64,
    /// What the daemon said, made fit for one line.
    pub message: Option<String>,
    /// How long it wants to be left alone, an hour at most. Only a 429 or a 503 says so.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(endpoint: &str, reason: Reason) -> Self {
        Self { endpoint: endpoint.to_owned(), reason, before: None }
    }

    pub(super) fn nowhere() -> Self {
        Self::new("the daemon", Reason::Unsupported("neither an address nor a socket is configured".into()))
    }

    pub(super) fn after(self, first: Self) -> Self {
        Self { before: Some(Box::new(first)), ..self }
    }

    /// Whether nobody is there at all, as is to be expected of a daemon that has not started yet.
    #[must_use]
    pub const fn is_nobody_there(&self) -> bool {
        matches!(self.reason, Reason::Unreachable(_))
    }

    /// How long the daemon wants to be left alone, if it said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        if let Reason::Rejected(rejection) = &self.reason { rejection.retry_after } else { None }
    }

    pub(super) const fn leaves_it_to_the_socket(&self) -> bool {
        let has_no_such_path = matches!(&self.reason, Reason::Rejected(rejection) if rejection.code == 404);
        self.is_nobody_there() || has_no_such_path
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, reason, before } = self;
        match reason {
            Reason::Unreachable(_) => {
                write!(f, "nobody listens at {endpoint}: start the daemon, or correct the address")
            }
            Reason::NotConnected(_) => {
                write!(
                    f,
                    "no connection to {endpoint} came about: see that this user may use it and the daemon accepts"
                )
            }
            Reason::Distrusted(_) => write!(f, "no TLS with {endpoint}"),
            Reason::TimedOut(limit) => {
                write!(
                    f,
                    "{endpoint} took longer than {limit:?}: see if the daemon hangs, or raise `heartbeat.timeout`"
                )
            }
            Reason::Closed(_) => {
                write!(f, "{endpoint} closed the connection instead of answering: look into the daemon's log")
            }
            Reason::Rejected(rejection) => write!(f, "{endpoint} refused the heartbeat with {rejection}"),
            Reason::Garbled(_) => write!(f, "{endpoint} gave no daemon's answer: see that a daemon listens there"),
            Reason::Unsupported(_) => write!(f, "no heartbeat can be sent to {endpoint}: correct the address"),
        }?;
        before.as_ref().map_or(Ok(()), |first| write!(f, "; before that, {first}"))
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Unreachable(error)
            | Reason::NotConnected(error)
            | Reason::Distrusted(error)
            | Reason::Closed(error)
            | Reason::Garbled(error)
            | Reason::Unsupported(error) => Some(&**error),
            Reason::TimedOut(_) | Reason::Rejected(_) => None,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(message) = &self.message {
            write!(f, " ({message})")?;
        }
        f.write_str(match self.code {
            300..=399 => ": set `heartbeat.url` to where it points",
            401 | 403 => ": correct the credentials in `heartbeat.url`",
            404 | 405 => ": correct the path in `heartbeat.url`",
            409 => ": see that no other process reports as this agent",
            429 | 503 => ": the daemon is busy, it is tried again",
            500..=599 => ": look into the daemon's log",
            _ => ": see that the daemon knows this agent",
        })
    }
}

/// The longest message of a daemon that is passed on, in characters.
const LONGEST: usize = 200;

/// A peer's words, fit for one line of a log or a terminal. `None` if nothing is left of them.
pub(super) fn fit_for_a_line(text: &str) -> Option<String> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    let mut short: String = line.chars().take(LONGEST).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    (!short.is_empty()).then_some(short)
}
