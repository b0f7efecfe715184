//! Certificates, keys and CAs out of PEM files, and all that is wrong with them. No message shows what a file holds.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_rustls::pki_types::pem::{self, PemObject as _};
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use futures_rustls::rustls::RootCertStore;
use futures_rustls::rustls::crypto::ring::sign::any_supported_type;
use futures_rustls::rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, KeyUsage};

use super::super::{FileProblem, IdentityFiles, Role};
use super::messages::{Peer, date};
use ops_runtime::{clock, small_file};

/// A bundle of all CAs that browsers know has a quarter of that.
const MOST_BYTES: usize = 1 << 20;

/// Reads files, and notes what is wrong or odd.
#[derive(Default)]
pub(super) struct Files {
    pub(super) stamps: BTreeMap<PathBuf, u64>,
    pub(super) problems: Vec<FileProblem>,
    pub(super) doubts: Vec<FileProblem>,
}

/// A certificate with its key, and until when it is valid.
type Proof = (CertifiedKey, Option<Duration>);

impl Files {
    /// The proof of who this side is, to be shown to `peer`.
    pub(super) fn identity(&mut self, identity: &IdentityFiles, peer: Peer) -> Option<Proof> {
        let IdentityFiles { cert, key: key_path } = identity;
        let chain = self.certificates(Role::Cert, cert);
        let key = self.key(key_path);
        let chain = chain?;
        let until = self.look_at_dates(cert, &chain);
        if matches!(peer, Peer::Client) {
            self.look_at_use(cert, chain.first()?);
        }
        let signing = match any_supported_type(&key?) {
            Ok(signing) => signing,
            Err(_) => {
                let fact = "whose key is of a kind that is not supported";
                return self.refuse(Role::Key, key_path, fact, "make one for ECDSA P-256, Ed25519 or RSA of 2048 bits");
            }
        };
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) => Some((certified, until)),
            Err(futures_rustls::rustls::Error::InconsistentKeys(_)) => {
                let fact = format!("which is not the key to the certificate in {}", quoted(cert));
                self.refuse(Role::Key, key_path, &fact, "give the key with which that certificate was asked for")
            }
            Err(error) => {
                let fact = format!("whose certificate is of no use ({error})");
                let remedy = "make one of X.509 version 3, with a subjectAltName";
                self.refuse(Role::Cert, cert, &fact, remedy)
            }
        }
    }

    /// The CAs in a file.
    pub(super) fn roots(&mut self, path: &Path) -> Option<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates(Role::Ca, path)?.into_iter().enumerate() {
            if let Err(error) = roots.add(certificate) {
                let fact = format!("whose certificate {} is of no use ({error})", index + 1);
                return self.refuse(Role::Ca, path, &fact, "give the CA's certificate as the CA hands it out");
            }
        }
        Some(roots)
    }

    /// The CAs that the system trusts: `$SSL_CERT_FILE`, `$SSL_CERT_DIR`, or where OpenSSL looks.
    pub(super) fn system_roots(&mut self) -> Option<RootCertStore> {
        let found = rustls_native_certs::load_native_certs();
        self.stamps.insert(PathBuf::new(), stamp(&found.certs));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if !roots.is_empty() {
            return Some(roots);
        }
        let asks = "asks for TLS by the CAs that the system trusts";
        let (fact, remedy) = match found.errors.first() {
            None => (
                format!("{asks}, and there are none"),
                "install the system's CA certificates (the package `ca-certificates`), or give a `ca`",
            ),
            Some(error) => (
                format!("{asks}, and those are of no use: {}", no_roots(error)),
                "correct that, or what SSL_CERT_FILE and SSL_CERT_DIR say, or give a `ca`",
            ),
        };
        self.refuse(Role::SystemRoots, Path::new(""), &fact, remedy)
    }

    /// What rustls has made of a file, or that it makes nothing of it.
    pub(super) fn made_of<T, E: fmt::Display>(&mut self, role: Role, path: &Path, made: Result<T, E>) -> Option<T> {
        match made {
            Ok(made) => Some(made),
            Err(error) => {
                let fact = format!("of which this build can make nothing ({error})");
                self.refuse(role, path, &fact, "give another, or another build of this program")
            }
        }
    }

    /// The certificates in a file: at least one.
    fn certificates(&mut self, role: Role, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.bytes(role, path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => Some(found),
            Ok(_) if PrivateKeyDer::from_pem_slice(&bytes).is_ok() => {
                let remedy = "give the file with `-----BEGIN CERTIFICATE-----`";
                self.refuse(role, path, "in which there is a key but no certificate", remedy)
            }
            Ok(_) => self.refuse(role, path, "in which there is no certificate in PEM form", PEM),
            Err(error) => self.damaged(role, path, &error),
        }
    }

    fn key(&mut self, path: &Path) -> Option<PrivateKeyDer<'static>> {
        let bytes = self.bytes(Role::Key, path)?;
        self.warn_if_others_can_read(path);
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Some(key),
            Err(pem::Error::NoItemsFound) if holds(&bytes, b"ENCRYPTED") => {
                let remedy = "there is nobody to ask for it: write it without one with `openssl pkey`";
                self.refuse(Role::Key, path, "whose key needs a password", remedy)
            }
            Err(pem::Error::NoItemsFound) => {
                let remedy = "give the file with `-----BEGIN PRIVATE KEY-----`";
                self.refuse(Role::Key, path, "in which there is no key in PEM form", remedy)
            }
            Err(error) => self.damaged(Role::Key, path, &error),
        }
    }

    fn bytes(&mut self, role: Role, path: &Path) -> Option<Vec<u8>> {
        match small_file::read(path, MOST_BYTES) {
            Ok(Some(bytes)) if bytes.len() > MOST_BYTES => {
                self.refuse(role, path, &format!("which is larger than {} KiB", MOST_BYTES / 1024), PEM)
            }
            Ok(Some(bytes)) => {
                self.stamps.insert(path.to_owned(), stamp(&bytes));
                Some(bytes)
            }
            Ok(None) => self.refuse(role, path, "which is not a regular file", PEM),
            Err(error) => {
                let fact = format!("which cannot be read: {error}");
                self.refuse(role, path, &fact, "put it there, where this user may read it, or correct the path")
            }
        }
    }

    /// What the PEM itself says is wrong. Its own words may quote the file.
    fn damaged<T>(&mut self, role: Role, path: &Path, error: &pem::Error) -> Option<T> {
        let fact = if matches!(error, pem::Error::MissingSectionEnd { .. }) {
            "in which a part has no end: the file is cut short"
        } else {
            "which is damaged: it is not PEM all through"
        };
        self.refuse(role, path, fact, "put a whole copy there")
    }

    /// Until when the certificates are valid, all of them together. Whether that is now is a doubt, not a problem: a clock
    /// may be wrong.
    fn look_at_dates(&mut self, path: &Path, chain: &[CertificateDer<'_>]) -> Option<Duration> {
        let now = clock::wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let dates: Vec<(Duration, Duration)> = chain.iter().filter_map(validity).collect();
        let from = dates.iter().map(|(from, _)| *from).max()?;
        let until = dates.iter().map(|(_, until)| *until).min()?;
        let (fact, remedy) = if now > until {
            (format!("whose certificate expired on {}", date(until)), "renew it")
        } else if now < from {
            (format!("whose certificate is not valid before {}", date(from)), "set this host's clock, or wait")
        } else {
            return Some(until);
        };
        self.doubt(Role::Cert, path, &fact, remedy, true);
        Some(until)
    }

    /// What clients as strict as this project's own would hold against a server's certificate.
    fn look_at_use(&mut self, path: &Path, certificate: &CertificateDer<'_>) {
        let Ok(parsed) = EndEntityCert::try_from(certificate) else { return };
        let Some((from, _)) = validity(certificate) else { return };
        let at = UnixTime::since_unix_epoch(from);
        let verified = parsed.verify_for_usage(&[], &[], &[], at, KeyUsage::server_auth(), None, None);
        let fact = match verified.err() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "whose certificate is a CA's own, which strict clients do not take"
            }
            Some(webpki::Error::RequiredEkuNotFoundContext(_)) => "whose certificate is not meant for servers",
            _ if is_nameless(&parsed) => "whose certificate is for no name: it has no subjectAltName",
            _ => return,
        };
        self.doubt(Role::Cert, path, fact, "have one made for this server's name or address", false);
    }

    fn warn_if_others_can_read(&mut self, path: &Path) {
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o004 != 0) {
            let remedy = "make it private: `chmod o-rwx`, and renew what others may have read";
            self.doubt(Role::Key, path, "which everybody on this host can read", remedy, false);
        }
    }

    fn refuse<T>(&mut self, role: Role, path: &Path, fact: &str, remedy: &str) -> Option<T> {
        let problem = problem(role, path, fact, remedy, false);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        None
    }

    fn doubt(&mut self, role: Role, path: &Path, fact: &str, remedy: &str, by_date: bool) {
        let doubt = problem(role, path, fact, remedy, by_date);
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }
}

const PEM: &str = "give a file in PEM form; `openssl x509 -inform der` makes one of a binary one";

fn problem(role: Role, path: &Path, fact: &str, remedy: &str, by_date: bool) -> FileProblem {
    let fact = match role {
        // It has no name, and its fact is a whole one.
        Role::SystemRoots => fact.to_owned(),
        Role::Cert | Role::Key | Role::Ca => format!("is {}, {fact}", quoted(path)),
    };
    FileProblem { role, path: path.to_owned(), fact, remedy: remedy.to_owned(), by_date }
}

/// Why a place where the system keeps its CAs has none. What PEM itself says is left out: it may quote the file.
fn no_roots(error: &rustls_native_certs::Error) -> String {
    use rustls_native_certs::ErrorKind as Kind;
    match &error.kind {
        Kind::Io { inner, path } => format!("{} cannot be read: {inner}", quoted(path)),
        Kind::Os(error) => format!("{error}"),
        Kind::Pem(_) => "a file with them is damaged: it is not PEM all through".to_owned(),
        _ => error.context.to_owned(),
    }
}

fn quoted(path: &Path) -> String {
    format!("`{}`", path.display())
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|part| part == word)
}

fn stamp(content: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn is_nameless(certificate: &EndEntityCert<'_>) -> bool {
    let nobody = ServerName::try_from("nobody.invalid").map(|name| certificate.verify_is_valid_for_subject_name(&name));
    matches!(nobody, Ok(Err(webpki::Error::CertNotValidForName(context))) if context.presented.is_empty())
}

/// From when until when a certificate is valid, in Unix time.
///
/// Nothing in the tree says so, but whoever asks whether it is valid at the end of time, or at its beginning, is told why
/// it is not; and dates come before everything else that may be wrong with it.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Duration, Duration)> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let at = |time| {
        let time = UnixTime::since_unix_epoch(time);
        parsed.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
    };
    let until = match at(Duration::from_secs(u64::MAX)) {
        Some(webpki::Error::CertExpired { not_after, .. }) => not_after,
        _ => return None,
    };
    let from = match at(Duration::ZERO) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => not_before,
        // From the first day on.
        _ => UnixTime::since_unix_epoch(Duration::ZERO),
    };
    Some((Duration::from_secs(from.as_secs()), Duration::from_secs(until.as_secs())))
}
