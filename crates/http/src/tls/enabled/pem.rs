//! Reads certificates, keys and CAs from PEM files. No message shows the content of a file.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::pki_types::pem::{self, PemObject as _};
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use futures_rustls::rustls::RootCertStore;
use futures_rustls::rustls::crypto::ring::sign::any_supported_type;
use futures_rustls::rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, KeyUsage};

use super::messages::{Peer, date};
use crate::exposure::exposure;
use crate::tls::files::{FileProblem, IdentityFiles, Role};
use ops_runtime::{clock, small_file};

/// The size limit of a file, in bytes. A bundle of all CAs that browsers trust has a quarter of it.
const MAX_BYTES: usize = 1 << 20;

/// Reads files, and collects problems and warnings.
#[derive(Default)]
pub(super) struct Files {
    pub(super) stamps: BTreeMap<PathBuf, u64>,
    pub(super) problems: Vec<FileProblem>,
    pub(super) warnings: Vec<FileProblem>,
}

/// A certificate with its key, and when it expires.
type CertifiedIdentity = (CertifiedKey, Option<Duration>);

impl Files {
    /// Reads the identity of this side, for a connection with `peer`.
    pub(super) fn identity(&mut self, identity: &IdentityFiles, peer: Peer) -> Option<CertifiedIdentity> {
        let IdentityFiles { cert, key: key_path } = identity;
        let chain = self.certificates(Role::Cert, cert);
        let key = self.key(key_path);
        let chain = chain?;
        let until = self.check_dates(cert, &chain);
        if matches!(peer, Peer::Client) {
            self.check_use(cert, chain.first()?);
        }
        let signing = match any_supported_type(&key?) {
            Ok(signing) => signing,
            Err(_) => {
                let fact = "whose key type is not supported";
                return self.refuse(
                    Role::Key,
                    key_path,
                    fact,
                    "use a key for ECDSA P-256, Ed25519 or RSA with 2048 bits",
                );
            }
        };
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) => Some((certified, until)),
            Err(futures_rustls::rustls::Error::InconsistentKeys(_)) => {
                if let Some(number) = position_of_key(&certified) {
                    let fact = format!("whose certificate {number}, and not its first, is that of the key");
                    let remedy = "begin the file with the certificate of the key, then write the CAs that signed it";
                    return self.refuse(Role::Cert, cert, &fact, remedy);
                }
                let fact = format!("which is not the key of the certificate in {}", quoted(cert));
                self.refuse(Role::Key, key_path, &fact, "use the key of that certificate")
            }
            Err(error) => {
                let fact = format!("whose certificate is not valid ({error})");
                let remedy = "use an X.509 version 3 certificate with a subjectAltName";
                self.refuse(Role::Cert, cert, &fact, remedy)
            }
        }
    }

    /// Reads the CAs in a file.
    pub(super) fn roots(&mut self, path: &Path) -> Option<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates(Role::Ca, path)?.into_iter().enumerate() {
            if let Err(error) = roots.add(certificate) {
                let fact = format!("whose certificate {} is not valid ({error})", index + 1);
                return self.refuse(Role::Ca, path, &fact, "use the original certificate of the CA");
            }
        }
        Some(roots)
    }

    /// Reads the system's CAs: from `$SSL_CERT_FILE`, `$SSL_CERT_DIR`, or the default paths of OpenSSL.
    pub(super) fn system_roots(&mut self) -> Option<RootCertStore> {
        let found = rustls_native_certs::load_native_certs();
        self.stamps.insert(PathBuf::new(), stamp(&found.certs));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if !roots.is_empty() {
            return Some(roots);
        }
        let requires = "requires the system's CAs";
        let (fact, remedy) = match found.errors.first() {
            None => {
                (format!("{requires}, and the system has none"), "install the package `ca-certificates`, or set `ca`")
            }
            Some(error) => (
                format!("{requires}, and they cannot be loaded: {}", system_roots_error(error)),
                "correct it, or SSL_CERT_FILE and SSL_CERT_DIR, or set `ca`",
            ),
        };
        self.refuse(Role::SystemRoots, Path::new(""), &fact, remedy)
    }

    /// The value that rustls made from a file, or a problem if rustls refused it.
    pub(super) fn checked<T, E: fmt::Display>(&mut self, role: Role, path: &Path, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let fact = format!("which this build cannot use ({error})");
                self.refuse(role, path, &fact, "use another file, or another build of this program")
            }
        }
    }

    /// Reads the certificates in a file. There is at least one.
    fn certificates(&mut self, role: Role, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.bytes(role, path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => Some(found),
            Ok(_) if PrivateKeyDer::from_pem_slice(&bytes).is_ok() => {
                let remedy = "use the file that contains `-----BEGIN CERTIFICATE-----`";
                self.refuse(role, path, "which contains a key but no certificate", remedy)
            }
            Ok(_) => self.refuse(role, path, "which contains no certificate in PEM format", PEM),
            Err(error) => self.damaged(role, path, &error),
        }
    }

    fn key(&mut self, path: &Path) -> Option<PrivateKeyDer<'static>> {
        let bytes = self.bytes(Role::Key, path)?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Some(key),
            // Keys of PKCS #1 have the word in a header, which is not valid PEM for the parser.
            Err(_) if contains(&bytes, b"ENCRYPTED") => {
                let remedy = "the program cannot ask for it: remove the password with `openssl pkey`";
                self.refuse(Role::Key, path, "whose key has a password", remedy)
            }
            Err(pem::Error::NoItemsFound) => {
                let remedy = "use the file that contains `-----BEGIN PRIVATE KEY-----`";
                self.refuse(Role::Key, path, "which contains no key in PEM format", remedy)
            }
            Err(error) => self.damaged(Role::Key, path, &error),
        }
    }

    fn bytes(&mut self, role: Role, path: &Path) -> Option<Vec<u8>> {
        match small_file::read(path, MAX_BYTES) {
            Ok(Some(bytes)) if bytes.len() > MAX_BYTES => {
                self.refuse(role, path, &format!("which is larger than {} KiB", MAX_BYTES / 1024), PEM)
            }
            Ok(Some(bytes)) => {
                self.stamps.insert(path.to_owned(), stamp(&bytes));
                exposure(role, path).into_iter().for_each(|warning| self.add_warning(warning));
                // Editors of other systems put a byte order mark before the first section.
                Some(bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes))
            }
            Ok(None) => self.refuse(role, path, "which is not a regular file", PEM),
            Err(error) => {
                let fact = format!("which cannot be read: {error}");
                self.refuse(role, path, &fact, "make it readable for this user, or correct the path")
            }
        }
    }

    /// Adds a PEM error as a problem. Its own text is left out, because it may quote the file.
    fn damaged<T>(&mut self, role: Role, path: &Path, error: &pem::Error) -> Option<T> {
        let fact = if matches!(error, pem::Error::MissingSectionEnd { .. }) {
            "which is cut short: a section has no end"
        } else {
            "which is damaged: it is not valid PEM"
        };
        self.refuse(role, path, fact, "replace it by a complete copy")
    }

    /// Returns when the first of the certificates expires. A wrong date is a warning and not a problem, because the
    /// clock may be wrong.
    fn check_dates(&mut self, path: &Path, chain: &[CertificateDer<'_>]) -> Option<Duration> {
        let now = clock::wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let dates: Vec<(Duration, Duration)> = chain.iter().filter_map(validity).collect();
        let from = dates.iter().map(|(from, _)| *from).max()?;
        let until = dates.iter().map(|(_, until)| *until).min()?;
        let (fact, remedy) = if now > until {
            (format!("whose certificate expired on {}", date(until)), "renew it")
        } else if now < from {
            (format!("whose certificate is not valid before {}", date(from)), "correct this host's clock, or wait")
        } else {
            return Some(until);
        };
        self.warn(Role::Cert, path, &fact, remedy, true);
        Some(until)
    }

    /// Warns of a server certificate that strict clients, such as this project's own, refuse.
    fn check_use(&mut self, path: &Path, certificate: &CertificateDer<'_>) {
        let Ok(parsed) = EndEntityCert::try_from(certificate) else { return };
        let Some((from, _)) = validity(certificate) else { return };
        let at = UnixTime::since_unix_epoch(from);
        let verified = parsed.verify_for_usage(&[], &[], &[], at, KeyUsage::server_auth(), None, None);
        let fact = match verified.err() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "whose certificate is a CA certificate, which strict clients refuse"
            }
            Some(webpki::Error::RequiredEkuNotFoundContext(_)) => "whose certificate is not for servers",
            _ if is_nameless(&parsed) => "whose certificate has no subjectAltName",
            _ => return,
        };
        self.warn(Role::Cert, path, fact, "use a certificate for this server's name or address", false);
    }

    fn refuse<T>(&mut self, role: Role, path: &Path, fact: &str, remedy: &str) -> Option<T> {
        let problem = FileProblem::new(role, path, fact, remedy);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        None
    }

    fn warn(&mut self, role: Role, path: &Path, fact: &str, remedy: &str, by_date: bool) {
        self.add_warning(FileProblem { by_date, ..FileProblem::new(role, path, fact, remedy) });
    }

    fn add_warning(&mut self, warning: FileProblem) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

const PEM: &str = "use a file in PEM format; `openssl x509 -inform der` converts a binary file";

/// Why the system's CAs cannot be read. A PEM error is left out, because it may quote the file.
fn system_roots_error(error: &rustls_native_certs::Error) -> String {
    use rustls_native_certs::ErrorKind as Kind;
    match &error.kind {
        Kind::Io { inner, path } => format!("{} cannot be read: {inner}", quoted(path)),
        Kind::Os(error) => format!("{error}"),
        Kind::Pem(_) => "a file is damaged: it is not valid PEM".to_owned(),
        _ => error.context.to_owned(),
    }
}

fn quoted(path: &Path) -> String {
    format!("`{}`", path.display())
}

/// Which certificate of a chain the key belongs to, counted from 1.
fn position_of_key(certified: &CertifiedKey) -> Option<usize> {
    let is_of_the_key = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key)).keys_match().is_ok()
    };
    certified.cert.iter().position(is_of_the_key).map(|index| index + 1)
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|part| part == word)
}

fn stamp(content: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn is_nameless(certificate: &EndEntityCert<'_>) -> bool {
    let unused = ServerName::try_from("unused.invalid").map(|name| certificate.verify_is_valid_for_subject_name(&name));
    matches!(unused, Ok(Err(webpki::Error::CertNotValidForName(context))) if context.presented.is_empty())
}

/// When a certificate becomes valid and when it expires, in Unix time.
///
/// webpki has no accessor for the dates. But its verification at the largest and at the smallest time fails with them,
/// because it checks dates before everything else.
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
        // Valid from the beginning of Unix time.
        _ => UnixTime::since_unix_epoch(Duration::ZERO),
    };
    Some((Duration::from_secs(from.as_secs()), Duration::from_secs(until.as_secs())))
}
