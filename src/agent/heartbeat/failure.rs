//! Why a heartbeat was not delivered, and what to do about it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::Transport;
use ops_protocol::printable::is_deceptive;
use ops_runtime::causes;

/// A heartbeat that was not acknowledged. `Display` is the fact, `source()` is the cause, [`Failure::remedy`] is what to do.
#[derive(Debug)]
pub struct Failure {
    transport: Transport,
    endpoint: String,
    /// Why.
    pub reason: Reason,
    /// The failure over HTTP, after which the socket was tried.
    before: Option<Box<Self>>,
}

/// Why a heartbeat was not delivered.
#[derive(Debug)]
pub enum Reason {
    /// No daemon is there: the host or the socket does not exist, or no process listens.
    Unreachable(Box<dyn Error + Send + Sync>),
    /// A daemon may be there, but the connection failed.
    NotConnected(Box<dyn Error + Send + Sync>),
    /// The TLS handshake failed. The cause includes the remedy.
    Tls(Box<dyn Error + Send + Sync>),
    /// The attempt took longer than this.
    TimedOut(Duration),
    /// The daemon closed the connection before it had sent a response.
    Closed(Box<dyn Error + Send + Sync>),
    /// The daemon rejected the heartbeat.
    Rejected(Rejection),
    /// The response is not one of a daemon.
    InvalidResponse(Box<dyn Error + Send + Sync>),
    /// A heartbeat cannot be sent to such an address.
    Unsupported(Box<dyn Error + Send + Sync>),
}

/// A daemon's error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The HTTP status, or the JSON-RPC error code, which is negative.
    pub code: i64,
    /// The daemon's message, on one line.
    pub message: Option<String>,
    /// The pause that a 429 or a 503 requests, at most an hour.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(transport: Transport, endpoint: &str, reason: Reason) -> Self {
        Self { transport, endpoint: endpoint.to_owned(), reason, before: None }
    }

    /// Neither an address nor a socket is configured.
    pub(super) fn not_configured() -> Self {
        Self::new(Transport::Http, "the daemon", Reason::Unsupported("no address and no socket is configured".into()))
    }

    /// Records the failure over HTTP that came before this one.
    pub(super) fn after(self, first: Self) -> Self {
        Self { before: Some(Box::new(first)), ..self }
    }

    /// Whether no daemon is there, as is normal before the daemon has started.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        matches!(self.reason, Reason::Unreachable(_))
    }

    /// The pause that the daemon requests.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        if let Reason::Rejected(rejection) = &self.reason { rejection.retry_after } else { None }
    }

    /// Whether the socket has to be tried after this failure over HTTP.
    pub(super) const fn allows_the_socket(&self) -> bool {
        let has_no_such_path = matches!(&self.reason, Reason::Rejected(rejection) if rejection.code == 404);
        self.is_unreachable() || has_no_such_path
    }

    /// The fact with its cause, then the remedy.
    pub(crate) fn explain(&self) -> String {
        let mut text = self.fact_with_cause();
        if let Some(remedy) = self.remedy() {
            text.push_str(". ");
            text.push_str(&remedy);
        }
        text
    }

    fn fact_with_cause(&self) -> String {
        let first = self.before.as_ref().map_or_else(String::new, |first| first.fact_with_cause() + "; ");
        let fact = self.fact();
        match self.source() {
            Some(cause) => format!("{first}{fact} ({})", causes::with_causes(cause)),
            None => first + &fact,
        }
    }

    fn fact(&self) -> String {
        let endpoint = &self.endpoint;
        match &self.reason {
            Reason::Unreachable(_) => format!("nothing listens at {endpoint}"),
            Reason::NotConnected(_) => format!("cannot connect to {endpoint}"),
            Reason::Tls(_) => format!("no TLS connection to {endpoint}"),
            Reason::TimedOut(limit) => format!("{endpoint} took longer than {limit:?}"),
            Reason::Closed(_) => format!("{endpoint} closed the connection without a response"),
            Reason::Rejected(rejection) => format!("{endpoint} rejected the heartbeat with {rejection}"),
            Reason::InvalidResponse(_) => format!("{endpoint} sent no valid response"),
            Reason::Unsupported(_) => format!("cannot send heartbeats to {endpoint}"),
        }
    }

    fn remedy(&self) -> Option<String> {
        let place = match self.transport {
            Transport::Http => "`heartbeat.url`",
            // Several keys can name it.
            Transport::Socket => "the path of the daemon's socket",
        };
        Some(match &self.reason {
            Reason::Unreachable(_) => format!("Start the daemon or correct {place}"),
            Reason::NotConnected(_) => {
                "Check that this user may connect and that the daemon accepts connections".to_owned()
            }
            Reason::Tls(_) => return None,
            Reason::TimedOut(_) => "Check whether the daemon hangs, or raise `heartbeat.timeout`".to_owned(),
            Reason::Closed(_) => "Check the daemon's log".to_owned(),
            Reason::Rejected(rejection) => rejection.remedy().to_owned(),
            Reason::InvalidResponse(_) => format!("Check that a daemon listens there, or correct {place}"),
            Reason::Unsupported(_) => format!("Correct {place}"),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = &self.before {
            write!(f, "{first}; ")?;
        }
        f.write_str(&self.fact())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Unreachable(error)
            | Reason::NotConnected(error)
            | Reason::Tls(error)
            | Reason::Closed(error)
            | Reason::InvalidResponse(error)
            | Reason::Unsupported(error) => Some(&**error),
            Reason::TimedOut(_) | Reason::Rejected(_) => None,
        }
    }
}

impl Rejection {
    const fn remedy(&self) -> &'static str {
        match self.code {
            300..=399 => "Set `heartbeat.url` to the target of the redirect",
            401 | 403 => "Correct the credentials in `heartbeat.url`",
            404 | 405 => "Correct the path in `heartbeat.url`",
            409 => "Check that no other process reports as this agent",
            429 | 503 => "The daemon is busy; the agent tries again",
            500..=599 => "Check the daemon's log",
            _ => "Check that the daemon knows this agent",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        self.message.as_ref().map_or(Ok(()), |message| write!(f, " ({message})"))
    }
}

/// The longest message of a daemon that is passed on, in characters.
const MAX_MESSAGE: usize = 200;

/// A peer's text as one line for a log or a terminal. `None` if nothing is left of it.
pub(super) fn one_line(text: &str) -> Option<String> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || is_deceptive(c)).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    let mut short: String = line.chars().take(MAX_MESSAGE).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    (!short.is_empty()).then_some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable(transport: Transport, endpoint: &str) -> Failure {
        Failure::new(transport, endpoint, Reason::Unreachable("connection refused".into()))
    }

    #[test]
    fn an_explanation_is_the_fact_the_cause_and_the_remedy() {
        let http = || unreachable(Transport::Http, "http://127.0.0.1:8080/heartbeat");
        assert_eq!(
            http().explain(),
            "nothing listens at http://127.0.0.1:8080/heartbeat (connection refused). Start the daemon or correct \
             `heartbeat.url`"
        );
        assert_eq!(
            unreachable(Transport::Socket, "unix:///daemon.sock").after(http()).explain(),
            "nothing listens at http://127.0.0.1:8080/heartbeat (connection refused); nothing listens at \
             unix:///daemon.sock (connection refused). Start the daemon or correct the path of the daemon's \
             socket"
        );
    }

    #[test]
    fn a_rejection_shows_the_daemons_code_and_message() {
        let message = Some("UNAUTHORIZED: no token".to_owned());
        let rejection = Rejection { code: 401, message, retry_after: None };
        assert_eq!(
            Failure::new(Transport::Http, "http://h/", Reason::Rejected(rejection)).explain(),
            "http://h/ rejected the heartbeat with 401 (UNAUTHORIZED: no token). Correct the credentials in \
             `heartbeat.url`"
        );
    }
}
