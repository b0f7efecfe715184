//! TLS: what its files say, a server's and a client's side of it, and what goes wrong with it, in plain words.
//!
//! All that knows rustls is in `with`. A build without the feature `tls` has `without` in its place: the same names for
//! types of which there can be no value, so that nothing else has to know which build it is.

mod material;
#[cfg(feature = "tls")]
mod with;
#[cfg(not(feature = "tls"))]
mod without;

use std::fmt;
use std::io;
use std::path::PathBuf;

#[cfg(feature = "tls")]
use with as build;
#[cfg(not(feature = "tls"))]
use without as build;

pub use build::HandshakeLogLimits;
pub use build::{Client, Incoming, Outgoing, Server};
pub use material::Material;

/// Whether this build can speak TLS. Where it cannot, no configuration that asks for it is right.
pub const AVAILABLE: bool = cfg!(feature = "tls");

/// With what a handshake begins, the type of its records, and no request.
pub const HANDSHAKE: u8 = 0x16;

/// The files with which one side proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdentityFiles {
    /// Its certificate in PEM, and behind it those of the CAs in between.
    pub cert: PathBuf,
    /// The key to it.
    pub key: PathBuf,
}

/// The files of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerFiles {
    /// Who it is.
    pub identity: IdentityFiles,
    /// The CAs of which one has to have signed a client's certificate. `None`: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// The files of a client. The default are the system's CAs, and no certificate of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClientFiles {
    /// The CAs of which one has to have signed the server's certificate. `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Who it is, if servers ask.
    pub identity: Option<IdentityFiles>,
}

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// As a certificate.
    Cert,
    /// As the key to it.
    Key,
    /// For the CAs in it.
    Ca,
    /// It is not one file but all those that the system keeps for its CAs.
    SystemRoots,
}

/// What is wrong with a file, or odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// What it is read for.
    pub role: Role,
    /// Where it is. Empty for [`Role::SystemRoots`].
    pub path: PathBuf,
    /// What is the case, to be read behind the name of what gives the path.
    pub fact: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether it is the date alone: another day, or another clock, and it would be right.
    pub by_date: bool,
}

/// Why no TLS connection came about, or why one ended. `Display` is the fact and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    text: String,
    is_ours: bool,
}

impl Fault {
    /// Whether it is on the account of this side, as far as one can tell: its certificate, or the want of one.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        self.is_ours
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

/// Why a new connection is of no use. Out of a TLS connection it comes as the inside of an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The peer speaks HTTP without TLS, and can be told so.
    PlainHttp,
    /// The peer speaks TLS, and this port does not.
    Tls,
    /// The handshake failed, and the peer was told as far as TLS allows.
    NoHandshake,
}

impl Unusable {
    /// What an error of a connection says, if it says that.
    #[must_use]
    pub fn in_error(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlainHttp => "this port speaks HTTPS, and this is plain HTTP: ask again with `https://`",
            Self::Tls => "this port speaks plain HTTP, and this is TLS: ask again with `http://`",
            Self::NoHandshake => "no TLS connection came about",
        })
    }
}

impl std::error::Error for Unusable {}

impl From<Unusable> for io::Error {
    fn from(unusable: Unusable) -> Self {
        Self::new(io::ErrorKind::InvalidData, unusable)
    }
}
