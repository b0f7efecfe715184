//! Who may have wishes over HTTP.
//!
//! A browser sends what any page tells it to, to loopback too. So beside the token, which no foreign page has, it is looked
//! at where a request comes from: `Origin` and `Sec-Fetch-Site` cannot be forged by a page. A page whose own name was made
//! to point at this host looks like one of ours by these, and gives itself away by that name in `Host`.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;

use ops_http::Token;
use ops_protocol::ApiError;
use ops_protocol::ErrorCode;

/// What is asked of whoever wants an agent started, stopped or restarted.
#[derive(Debug, Clone)]
pub enum ControlAuth {
    /// A token.
    Token(Token),
    /// To be on this host, and no foreign page.
    ThisHost,
    /// No foreign page. Whoever is connected has proved by a certificate who it is; a page with a name made to point here has
    /// none for that name.
    Certificate,
    /// Nobody may: others can reach the listener, and there is no token.
    Closed,
}

impl ControlAuth {
    /// What fits a listener at `address`. `verifies_clients`: nobody gets as far as a request without a certificate.
    #[must_use]
    pub fn of(address: SocketAddr, token: Option<Token>, verifies_clients: bool) -> Self {
        match token {
            Some(token) => Self::Token(token),
            None if verifies_clients => Self::Certificate,
            None if address.ip().is_loopback() => Self::ThisHost,
            None => Self::Closed,
        }
    }

    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Denied> {
        same_origin(headers)?;
        match self {
            Self::Token(token) => {
                let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                if given.is_some_and(|given| token.is_in(given)) { Ok(()) } else { Err(Denied::NoToken) }
            }
            Self::Certificate => Ok(()),
            Self::ThisHost if names_this_host(headers) => Ok(()),
            Self::ThisHost => Err(Denied::OtherName),
            Self::Closed => Err(Denied::Closed),
        }
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    NoToken,
    ForeignPage,
    OtherName,
    Closed,
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let (code, text) = match denied {
            Denied::NoToken => {
                let text = "a token is needed: send `Authorization: Bearer …` with what `http.token_file` holds";
                (ErrorCode::Unauthorized, text)
            }
            Denied::ForeignPage => {
                (ErrorCode::Forbidden, "this comes from a page that is not the daemon's: use the daemon's own page")
            }
            Denied::OtherName => {
                let text = "without a token the daemon is told nothing under a name: use its address, or set `http.token_file`";
                (ErrorCode::Forbidden, text)
            }
            Denied::Closed => {
                let text =
                    "others can reach this address, and there is no token: set `http.token_file`, or use the socket";
                (ErrorCode::Forbidden, text)
            }
        };
        Self::new(code, text)
    }
}

/// Whether no page of another origin is behind a request.
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

/// An address, or `localhost`: names that no one else can make point here. No name at all is no browser.
fn names_this_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn without_a_token_only_this_host_and_its_own_page() {
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
            assert_eq!(control_auth.admit(&headers(&admitted)), Ok(()), "{admitted:?}");
        }
        for (given, denied) in [
            (vec![host, ("origin", "https://evil.example")], Denied::ForeignPage),
            (vec![host, ("origin", "null")], Denied::ForeignPage),
            (vec![host, ("origin", "http://127.0.0.1:81")], Denied::ForeignPage),
            (vec![host, ("sec-fetch-site", "cross-site")], Denied::ForeignPage),
            (vec![host, ("sec-fetch-site", "same-site")], Denied::ForeignPage),
            (vec![("host", "evil.example:80"), ("origin", "http://evil.example:80")], Denied::OtherName),
            (vec![("host", "127.0.0.1.evil.example")], Denied::OtherName),
        ] {
            assert_eq!(control_auth.admit(&headers(&given)), Err(denied), "{given:?}");
        }
    }

    #[test]
    fn a_token_is_asked_for_wherever_there_is_one() {
        let token = || Token::from_file("s3cret\n");
        for address in [SocketAddr::from(([127, 0, 0, 1], 80)), SocketAddr::from(([0, 0, 0, 0], 80))] {
            let control_auth = ControlAuth::of(address, token(), false);
            let host = ("host", "daemon.example");
            assert_eq!(control_auth.admit(&headers(&[host])), Err(Denied::NoToken));
            assert_eq!(control_auth.admit(&headers(&[host, ("authorization", "Bearer s3cre")])), Err(Denied::NoToken));
            assert_eq!(control_auth.admit(&headers(&[host, ("authorization", "bearer s3cret")])), Ok(()));
        }
    }

    #[test]
    fn where_others_can_listen_in_nobody_may_without_a_token() {
        let control_auth = ControlAuth::of(([0, 0, 0, 0], 80).into(), None, false);
        assert_eq!(control_auth.admit(&headers(&[("host", "127.0.0.1")])), Err(Denied::Closed));
    }

    #[test]
    fn a_certificate_stands_in_for_a_token_but_not_for_the_origin() {
        let control_auth = ControlAuth::of(([0, 0, 0, 0], 443).into(), None, true);
        let host = ("host", "daemon.example");
        assert_eq!(control_auth.admit(&headers(&[host])), Ok(()));
        assert_eq!(control_auth.admit(&headers(&[host, ("origin", "https://daemon.example")])), Ok(()));
        assert_eq!(control_auth.admit(&headers(&[host, ("origin", "https://evil.example")])), Err(Denied::ForeignPage));
    }
}
