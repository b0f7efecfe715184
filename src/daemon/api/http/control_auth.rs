//! Which HTTP requests may give commands.
//!
//! A page of any site can make a browser send requests, also to loopback. A token protects against that, because a
//! foreign page does not have it. The headers `Origin` and `Sec-Fetch-Site` protect too, because a page cannot forge
//! them. One attack passes both headers: a foreign site lets its own DNS name resolve to this host (DNS rebinding).
//! The name in `Host` reveals it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;

use ops_http::Token;
use ops_protocol::ApiError;
use ops_protocol::ErrorCode;

/// Which requests may start, stop or restart an agent, and which names the daemon has for browsers.
#[derive(Debug, Clone)]
pub struct ControlAuth {
    rule: Rule,
    /// The configured names of the daemon, besides addresses, `localhost` and the name of this host.
    names: Vec<String>,
}

/// What a request needs to start, stop or restart an agent.
#[derive(Debug, Clone)]
enum Rule {
    /// A token.
    Token(Token),
    /// It comes from this host, and not from a foreign page.
    ThisHost,
    /// It does not come from a foreign page. TLS has verified the client's certificate. DNS rebinding does not work,
    /// because the server's certificate is not valid for the foreign name.
    Certificate,
    /// No request is accepted: other hosts can reach the listener, and no token is configured.
    Closed,
}

impl ControlAuth {
    /// The rule for a listener at `address`. `verifies_clients`: TLS requires a certificate from every client.
    #[must_use]
    pub fn of(address: SocketAddr, token: Option<Token>, verifies_clients: bool) -> Self {
        let rule = match token {
            Some(token) => Rule::Token(token),
            None if verifies_clients => Rule::Certificate,
            None if address.ip().is_loopback() => Rule::ThisHost,
            None => Rule::Closed,
        };
        Self { rule, names: Vec::new() }
    }

    /// Browsers may use these names for the daemon too.
    #[must_use]
    pub fn with_names(self, names: Vec<String>) -> Self {
        Self { names, ..self }
    }

    pub(super) fn admit(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<(), Denied> {
        same_origin(headers)?;
        match &self.rule {
            Rule::Token(token) => {
                let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                if token.admits(given, peer) { Ok(()) } else { Err(Denied::TokenRequired) }
            }
            Rule::Certificate => Ok(()),
            Rule::ThisHost if self.names_this_host(headers) => Ok(()),
            Rule::ThisHost => Err(Denied::ForeignHost),
            Rule::Closed => Err(Denied::Closed),
        }
    }

    /// A browser's request has to name this host. Otherwise a foreign site lets its own DNS name resolve to this host.
    /// Programs may use any name, as Prometheus does.
    pub(super) fn not_rebound(&self, headers: &HeaderMap) -> Result<(), Denied> {
        if is_from_a_browser(headers) && !self.names_this_host(headers) { Err(Denied::ForeignHost) } else { Ok(()) }
    }

    /// Whether `Host` is an IP address, `localhost`, the name of this host or a configured name, which no foreign site
    /// controls. A request without `Host` is not from a browser.
    fn names_this_host(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(HOST) else { return true };
        let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
        let name = authority.host();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is = |own: &str| name.eq_ignore_ascii_case(own);
        is("localhost")
            || bare.parse::<IpAddr>().is_ok()
            || self.names.iter().any(|own| is(own))
            || rustix::system::uname().nodename().to_str().is_ok_and(is)
    }
}

/// Why a request may not give a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    TokenRequired,
    ForeignPage,
    ForeignHost,
    Closed,
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let (code, text) = match denied {
            Denied::TokenRequired => {
                let text = "a token is required: send `Authorization: Bearer …` with the token in `http.token_file`";
                (ErrorCode::Unauthorized, text)
            }
            Denied::ForeignPage => {
                (ErrorCode::Forbidden, "the request comes from a page of another site: use the daemon's own page")
            }
            Denied::ForeignHost => {
                let text =
                    "the header `Host` has an unknown name: use the IP address, or add the name to `daemon.http.names`";
                (ErrorCode::Forbidden, text)
            }
            Denied::Closed => {
                let text =
                    "other hosts reach this address and no token is set: set `http.token_file`, or use the socket";
                (ErrorCode::Forbidden, text)
            }
        };
        Self::new(code, text)
    }
}

/// Checks that the request does not come from a page of another origin.
pub(super) fn same_origin(headers: &HeaderMap) -> Result<(), Denied> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let fetched_here = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let from_here = headers.get(ORIGIN).is_none_or(|origin| {
        let authority =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
        authority.is_some() && authority == text(HOST.as_str())
    });
    if fetched_here && from_here { Ok(()) } else { Err(Denied::ForeignPage) }
}

/// A request of a browser is refused: an agent is none.
pub(super) fn not_a_browser(headers: &HeaderMap) -> Result<(), Denied> {
    if is_from_a_browser(headers) { Err(Denied::ForeignPage) } else { Ok(()) }
}

fn is_from_a_browser(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| *name == ORIGIN || name.as_str().starts_with("sec-fetch-"))
}

#[cfg(test)]
pub(crate) mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn without_a_token_only_this_host_and_the_daemon_s_page_are_admitted() {
        let control_auth = ControlAuth::of(([127, 0, 0, 1], 80).into(), None, false);
        let host = ("host", "127.0.0.1:80");
        for admitted in [
            vec![host],
            vec![],
            vec![("host", "localhost:80")],
            vec![("host", "[::1]:80")],
            vec![host, ("origin", "http://127.0.0.1:80"), ("sec-fetch-site", "same-origin")],
            vec![host, ("sec-fetch-site", "none")],
        ] {
            assert_eq!(control_auth.admit(&headers(&admitted), None), Ok(()), "{admitted:?}");
        }
        for (given, denied) in [
            (vec![host, ("origin", "https://evil.example")], Denied::ForeignPage),
            (vec![host, ("origin", "null")], Denied::ForeignPage),
            (vec![host, ("origin", "http://127.0.0.1:81")], Denied::ForeignPage),
            (vec![host, ("sec-fetch-site", "cross-site")], Denied::ForeignPage),
            (vec![host, ("sec-fetch-site", "same-site")], Denied::ForeignPage),
            (vec![("host", "evil.example:80"), ("origin", "http://evil.example:80")], Denied::ForeignHost),
            (vec![("host", "127.0.0.1.evil.example")], Denied::ForeignHost),
        ] {
            assert_eq!(control_auth.admit(&headers(&given), None), Err(denied), "{given:?}");
        }
    }

    #[test]
    fn a_browser_may_use_a_configured_name() {
        let unnamed = ControlAuth::of(([127, 0, 0, 1], 80).into(), None, false);
        let named = unnamed.clone().with_names(vec!["ops.example".to_owned()]);
        let page = |host| headers(&[("host", host), ("sec-fetch-site", "same-origin")]);
        for host in ["ops.example", "OPS.example:80"] {
            assert_eq!(unnamed.not_rebound(&page(host)), Err(Denied::ForeignHost));
            assert_eq!(named.not_rebound(&page(host)), Ok(()), "{host}");
            assert_eq!(named.admit(&page(host), None), Ok(()), "{host}");
        }
        for foreign in ["evil.example", "ops.example.evil.example", "a.ops.example"] {
            assert_eq!(named.not_rebound(&page(foreign)), Err(Denied::ForeignHost), "{foreign}");
        }
    }

    #[test]
    fn a_configured_token_is_always_required() {
        let token = || Token::from_file("s3cret\n");
        for address in [SocketAddr::from(([127, 0, 0, 1], 80)), SocketAddr::from(([0, 0, 0, 0], 80))] {
            let control_auth = ControlAuth::of(address, token(), false);
            let host = ("host", "daemon.example");
            assert_eq!(control_auth.admit(&headers(&[host]), None), Err(Denied::TokenRequired));
            assert_eq!(
                control_auth.admit(&headers(&[host, ("authorization", "Bearer s3cre")]), None),
                Err(Denied::TokenRequired)
            );
            assert_eq!(control_auth.admit(&headers(&[host, ("authorization", "bearer s3cret")]), None), Ok(()));
        }
    }

    #[test]
    fn where_other_hosts_can_connect_a_token_is_required() {
        let control_auth = ControlAuth::of(([0, 0, 0, 0], 80).into(), None, false);
        assert_eq!(control_auth.admit(&headers(&[("host", "127.0.0.1")]), None), Err(Denied::Closed));
    }

    #[test]
    fn a_certificate_replaces_the_token_but_not_the_check_of_the_origin() {
        let control_auth = ControlAuth::of(([0, 0, 0, 0], 443).into(), None, true);
        let host = ("host", "daemon.example");
        assert_eq!(control_auth.admit(&headers(&[host]), None), Ok(()));
        assert_eq!(control_auth.admit(&headers(&[host, ("origin", "https://daemon.example")]), None), Ok(()));
        assert_eq!(
            control_auth.admit(&headers(&[host, ("origin", "https://evil.example")]), None),
            Err(Denied::ForeignPage)
        );
    }
}
