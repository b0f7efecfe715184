//! What goes wrong between two ends that speak TLS, in words that say what to do. Each is one line.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "others' words, of which each release has more: those without words of ours are shown as they are"
)]

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::{AlertDescription, CertificateError, Error};

use super::super::Fault;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Somebody who wants something of this server.
    Client,
    /// The server that this client wants something of, by the name that messages have for it.
    Server(&'static str),
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "the client",
            Self::Server(name) => name,
        }
    }
}

/// What an error of a handshake, or of a connection later on, means.
pub(super) fn fault(error: &io::Error, peer: Peer) -> Fault {
    let name = peer.name();
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return theirs(match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => match peer {
                Peer::Client => format!("{name} closed the connection in the middle of the TLS handshake"),
                Peer::Server(_) => format!(
                    "{name} closed the connection in the middle of the TLS handshake: look into its log, and see that it \
                     speaks TLS there"
                ),
            },
            _ => format!("the connection broke in the middle of the TLS handshake ({error})"),
        });
    };
    match tls {
        Error::InvalidCertificate(error) => theirs(format!("{name}'s certificate {}", refused(error, peer))),
        Error::NoCertificatesPresented => {
            theirs(format!("{name} shows no certificate: give it one that a CA of `client_ca` has signed"))
        }
        Error::AlertReceived(alert) => told(*alert, peer),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => {
            theirs(match peer {
                Peer::Client => format!("what {name} says is not TLS ({tls})"),
                Peer::Server(_) => format!(
                    "what {name} says is not TLS: write `http://` if it speaks plain HTTP there, or give it a certificate"
                ),
            })
        }
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => theirs(format!(
            "{name} and this side have no kind of TLS in common ({tls}): TLS 1.2 and 1.3 are spoken here"
        )),
        _ => theirs(format!("{name} breaks the rules of TLS ({tls})")),
    }
}

/// What kind of thing went wrong with a client, as far as it matters that one of them does not hide another in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    PlainHttp,
    NotTls,
    /// Begun, and not gone on with.
    Unfinished,
    /// The connection ended or broke.
    Broken,
    NoCertificate,
    /// Its date is past, or not come yet.
    Date,
    /// Of no CA that is known here.
    Stranger,
    /// Anything else about its certificate.
    Certificate,
    /// What it holds against this side.
    Told(u8),
    NothingInCommon,
    AgainstTheRules,
}

/// The kind of what [`fault`] has words for.
pub(super) fn kind(error: &io::Error) -> Kind {
    use CertificateError as Bad;
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else { return Kind::Broken };
    match tls {
        Error::InvalidCertificate(bad) => match bad {
            Bad::ExpiredContext { .. } | Bad::Expired | Bad::NotValidYetContext { .. } | Bad::NotValidYet => Kind::Date,
            Bad::UnknownIssuer => Kind::Stranger,
            _ => Kind::Certificate,
        },
        Error::NoCertificatesPresented => Kind::NoCertificate,
        Error::AlertReceived(alert) => Kind::Told(u8::from(*alert)),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => Kind::NotTls,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Kind::NothingInCommon,
        _ => Kind::AgainstTheRules,
    }
}

/// The host of an address cannot stand in a certificate.
pub(super) fn no_name(host: &str) -> Fault {
    ours(format!("no certificate can be for `{host}`: use a DNS name or an IP address"))
}

/// A client that has begun a handshake, and not ended it in time.
pub(super) const UNFINISHED: &str = "the client has begun a TLS handshake and not gone on with it";

fn theirs(text: String) -> Fault {
    Fault { text, is_ours: false }
}

fn ours(text: String) -> Fault {
    Fault { text, is_ours: true }
}

/// Why the peer's certificate is not taken, behind the words `…'s certificate`.
fn refused(error: &CertificateError, peer: Peer) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}: renew it", date(Duration::from_secs(not_after.as_secs())))
        }
        CertificateError::Expired => "has expired: renew it".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}: see which clock is wrong", date(Duration::from_secs(not_before.as_secs())))
        }
        CertificateError::NotValidYet => "is not valid yet: see which clock is wrong".to_owned(),
        CertificateError::UnknownIssuer => match peer {
            Peer::Client => "is signed by no CA of `client_ca` (but by itself, or by another)".to_owned(),
            Peer::Server(_) => {
                "is signed by no CA that is trusted here (but by itself, or by another): set `ca` to the one that signed it"
                    .to_owned()
            }
        },
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = match expected {
                ServerName::DnsName(name) => name.as_ref().to_owned(),
                ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
                _ => "this name".to_owned(),
            };
            let presented = names(presented);
            format!("is for {presented}, not for {expected}: use a name that it is for, or have one made for this one")
        }
        CertificateError::NotValidForName => "is for another name: have one made for this one".to_owned(),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            "is not meant for this use: see its extended key usage".to_owned()
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "is a CA's own, which proves nothing: have that CA sign one (`openssl req -x509` makes a CA's)".to_owned()
            }
            Some(webpki::Error::UnsupportedCertVersion) => {
                "is of an old version, X.509 1 or 2: make one with a subjectAltName".to_owned()
            }
            _ => format!("is not acceptable ({error})"),
        },
        _ => format!("is not acceptable ({error})"),
    }
}

/// The names in a certificate, which come as `DnsName("a")` and `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 5;
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        inner.trim_matches('"').escape_debug().take(100).collect::<String>()
    };
    let mut names: Vec<String> = presented.iter().take(SHOWN).map(bare).collect();
    if presented.len() > SHOWN {
        names.push(format!("{} more", presented.len() - SHOWN));
    }
    if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
}

/// What the peer says is wrong with this side.
fn told(alert: AlertDescription, peer: Peer) -> Fault {
    use AlertDescription as Alert;
    let name = peer.name();
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            ours(format!("{name} asks for a client certificate: set `cert` and `key`"))
        }
        Alert::CertificateExpired => ours(format!("{name} finds this side's certificate expired: renew it")),
        Alert::UnknownCA => ours(format!(
            "{name} does not know the CA of this side's certificate: give {name} that CA, or correct the certificate"
        )),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::AccessDenied => ours(format!(
            "{name} does not take this side's certificate ({alert:?}): see its names, its dates and its CA"
        )),
        Alert::ProtocolVersion
        | Alert::HandshakeFailure
        | Alert::InsufficientSecurity
        | Alert::NoApplicationProtocol => theirs(format!(
            "{name} and this side have no kind of TLS in common ({alert:?}): TLS 1.2 and 1.3 are spoken here"
        )),
        Alert::UnrecognisedName => theirs(format!("{name} has no certificate for this name: correct the address")),
        _ => theirs(format!("{name} broke the TLS connection off ({alert:?}): look into its log")),
    }
}

/// A date, given in Unix time.
pub(super) fn date(unix: Duration) -> String {
    // RFC 3339 has no year of five digits, and neither has a certificate.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + unix.min(LAST)).to_string()
}
