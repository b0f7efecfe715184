//! Certificates for one test: a CA, and valid and invalid certificates that it signs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};

/// The first and the last year of validity.
pub(crate) type Years = (i32, i32);

/// Valid for as long as tests run.
pub(crate) const VALID: Years = (2000, 2100);
/// Expired.
pub(crate) const EXPIRED: Years = (2000, 2001);
/// Not valid yet.
pub(crate) const FUTURE: Years = (2099, 2100);

/// A CA. It writes what it signs to a directory, as `NAME.pem` and `NAME.key`.
pub(crate) struct Ca {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    /// Its own certificate becomes `NAME.pem`.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let mut params = params(&[], VALID, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(directory.join(format!("{name}.pem")), issuer.pem()).unwrap();
        Self { directory: directory.to_owned(), issuer }
    }

    /// Signs a certificate for these names or addresses, for servers and clients.
    pub(crate) fn sign(&self, name: &str, names: &[&str], years: Years) {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, years, name).signed_by(&key, &self.issuer).unwrap();
        put(&self.directory, name, &certificate.pem(), &key.serialize_pem());
    }
}

impl Ca {
    /// Signs a certificate that has an address as a DNS name.
    pub(crate) fn sign_with_address_as_name(&self, name: &str, address: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[], VALID, name);
        params.subject_alt_names = vec![SanType::DnsName(address.try_into().unwrap())];
        put(&self.directory, name, &params.signed_by(&key, &self.issuer).unwrap().pem(), &key.serialize_pem());
    }
}

/// A self-signed certificate that is no CA.
pub(crate) fn self_signed(directory: &Path, name: &str, names: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let certificate = params(names, VALID, name).self_signed(&key).unwrap();
    put(directory, name, &certificate.pem(), &key.serialize_pem());
}

fn params(names: &[&str], (from, until): Years, name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// Replaces each file with one rename, as certificate clients do.
fn put(directory: &Path, name: &str, certificate: &str, key: &str) {
    for (ending, text, mode) in [("pem", certificate, 0o644), ("key", key, 0o600)] {
        let next = directory.join(format!("{name}.{ending}.new"));
        fs::write(&next, text).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(&next, directory.join(format!("{name}.{ending}"))).unwrap();
    }
}
