//! Explains TLS errors: the fact and the remedy, in one line.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of rustls grow with each release: variants without a text here are shown as they are"
)]

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::{AlertDescription, CertificateError, Error};

use crate::tls::error::TlsError;

/// The other side of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A client of this server.
    Client,
    /// The server of this client, with its name in messages.
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

/// Explains an error of a handshake, or of a connection after it.
pub(super) fn explain(error: &io::Error, peer: Peer) -> TlsError {
    let name = peer.name();
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return TlsError::remote(match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => match peer {
                Peer::Client => format!("{name} closed the connection during the TLS handshake"),
                Peer::Server(_) => format!(
                    "{name} closed the connection during the TLS handshake: check its log, and that it uses TLS there"
                ),
            },
            _ => format!("the connection failed during the TLS handshake ({error})"),
        });
    };
    match tls {
        Error::InvalidCertificate(error) => {
            let text = format!("{name}'s certificate {}", certificate_problem(error, peer));
            // A host that starts with a wrong clock has an early one.
            if is_early(error) { TlsError::local(text) } else { TlsError::remote(text) }
        }
        Error::NoCertificatesPresented => {
            TlsError::remote(format!("{name} sent no certificate: give it one that is signed by a CA in `client_ca`"))
        }
        Error::AlertReceived(alert) => explain_alert(*alert, peer),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => {
            TlsError::remote(match peer {
                Peer::Client => format!("{name} does not use TLS ({tls})"),
                Peer::Server(_) => format!("{name} does not use TLS: use `http://`, or configure a certificate there"),
            })
        }
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => TlsError::remote(format!(
            "{name} supports no common TLS version or cipher suite ({tls}): this side supports TLS 1.2 and 1.3"
        )),
        _ => TlsError::remote(format!("{name} violates the TLS protocol ({tls})")),
    }
}

/// The kinds of failed handshakes with a client. Each has its own log limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeFailure {
    PlainHttp,
    NotTls,
    /// The client did not finish the handshake in time.
    Unfinished,
    /// The connection ended or failed.
    Broken,
    NoCertificate,
    /// The certificate has expired, or is not valid yet.
    Date,
    /// No known CA signed the certificate.
    UnknownCa,
    /// Any other problem with the certificate.
    Certificate,
    /// The client sent this alert.
    Alert(u8),
    Incompatible,
    Violation,
}

/// The kind of an error that [`explain`] explains.
pub(super) fn kind(error: &io::Error) -> HandshakeFailure {
    use CertificateError as Bad;
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return HandshakeFailure::Broken;
    };
    match tls {
        Error::InvalidCertificate(bad) if is_expired(bad) || is_early(bad) => HandshakeFailure::Date,
        Error::InvalidCertificate(Bad::UnknownIssuer) => HandshakeFailure::UnknownCa,
        Error::InvalidCertificate(_) => HandshakeFailure::Certificate,
        Error::NoCertificatesPresented => HandshakeFailure::NoCertificate,
        Error::AlertReceived(alert) => HandshakeFailure::Alert(u8::from(*alert)),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => {
            HandshakeFailure::NotTls
        }
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeFailure::Incompatible,
        _ => HandshakeFailure::Violation,
    }
}

const fn is_expired(bad: &CertificateError) -> bool {
    matches!(bad, CertificateError::ExpiredContext { .. } | CertificateError::Expired)
}

const fn is_early(bad: &CertificateError) -> bool {
    matches!(bad, CertificateError::NotValidYetContext { .. } | CertificateError::NotValidYet)
}

/// The host of a URL cannot be the name in a certificate.
pub(super) fn invalid_name(host: &str) -> TlsError {
    TlsError::local(format!("a certificate cannot contain the name `{host}`: use a DNS name or an IP address"))
}

/// The client began a handshake and did not finish it in time.
pub(super) const UNFINISHED: &str = "the client did not finish the TLS handshake in time";

/// Why the peer's certificate is refused. The text follows the words `…'s certificate`.
fn certificate_problem(error: &CertificateError, peer: Peer) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}: renew it", date(Duration::from_secs(not_after.as_secs())))
        }
        CertificateError::Expired => "has expired: renew it".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            let from = date(Duration::from_secs(not_before.as_secs()));
            format!("is not valid before {from}: check the clocks of both hosts")
        }
        CertificateError::NotValidYet => "is not valid yet: check the clocks of both hosts".to_owned(),
        CertificateError::UnknownIssuer => match peer {
            Peer::Client => "is not signed by a CA in `client_ca`".to_owned(),
            Peer::Server(_) => "is not signed by a trusted CA: set `ca` to the CA that signed it".to_owned(),
        },
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = match expected {
                ServerName::DnsName(name) => name.as_ref().to_owned(),
                ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
                _ => "this name".to_owned(),
            };
            if presented.iter().any(|name| bare(name) == expected) {
                return format!(
                    "has {expected} as a DNS name, not as an address: get one with `IP:{expected}` in its subjectAltName"
                );
            }
            let presented = names(presented);
            format!("is for {presented}, not for {expected}: use one of its names, or get a certificate for {expected}")
        }
        CertificateError::NotValidForName => "is for another name: get a certificate for this name".to_owned(),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            "is not for this purpose: check its extended key usage".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
            "is signed in an old way, such as with SHA-1: get one that is signed with SHA-256".to_owned()
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "is a CA certificate, as `openssl req -x509` makes it: use a certificate that this CA signed".to_owned()
            }
            Some(webpki::Error::UnsupportedCertVersion) => {
                "has the old X.509 version 1 or 2: make one of version 3 with a subjectAltName".to_owned()
            }
            _ => format!("is not valid ({error})"),
        },
        _ => format!("is not valid ({error})"),
    }
}

fn bare(name: &str) -> &str {
    name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name).trim_matches('"')
}

/// The names in a certificate. They come as `DnsName("a")` and `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 5;
    let short = |name: &String| bare(name).escape_debug().take(100).collect::<String>();
    let mut names: Vec<String> = presented.iter().take(SHOWN).map(short).collect();
    if presented.len() > SHOWN {
        names.push(format!("{} more", presented.len() - SHOWN));
    }
    if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
}

/// Explains an alert that the peer sent.
fn explain_alert(alert: AlertDescription, peer: Peer) -> TlsError {
    use AlertDescription as Alert;
    let name = peer.name();
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            TlsError::local(format!("{name} requires a client certificate: set `cert` and `key`"))
        }
        Alert::CertificateExpired => {
            TlsError::local(format!("{name} refuses this side's certificate as expired: renew it"))
        }
        Alert::UnknownCA => TlsError::local(format!(
            "{name} does not trust the CA of this side's certificate: add that CA there, or correct the certificate"
        )),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::AccessDenied => TlsError::local(format!(
            "{name} refuses this side's certificate ({alert:?}): check its names, dates and CA"
        )),
        Alert::ProtocolVersion
        | Alert::HandshakeFailure
        | Alert::InsufficientSecurity
        | Alert::NoApplicationProtocol => TlsError::remote(format!(
            "{name} supports no common TLS version or cipher suite ({alert:?}): this side supports TLS 1.2 and 1.3"
        )),
        Alert::UnrecognisedName => {
            TlsError::remote(format!("{name} has no certificate for this name: correct the URL"))
        }
        _ => TlsError::remote(format!("{name} aborted the TLS connection ({alert:?}): check its log")),
    }
}

/// The date of a Unix time.
pub(super) fn date(unix: Duration) -> String {
    // Neither RFC 3339 nor a certificate supports years after 9999.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + unix.min(LAST)).to_string()
}
