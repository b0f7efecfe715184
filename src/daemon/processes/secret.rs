//! The start secret: proof that a process belongs to one start of one agent of this daemon.
//!
//! A secret is `NONCE.MAC`. The nonce is random and new at each start. The MAC is a keyed hash over the nonce, the agent's ID and
//! the daemon's work directory. So a daemon recognises its own secrets without a record, and another user cannot make one.
//!
//! Whatever the agent starts inherits the secret. It proves membership in the tree of one start, not which process is the main
//! one.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use sha2::Sha256;

use ops_protocol::heartbeat::SECRET_VARIABLE;

/// The environment variable that carries the secret.
pub(crate) const VARIABLE: &str = SECRET_VARIABLE;

/// The name of the key in the daemon's work directory.
const KEY_FILE: &str = "identity.key";

/// The size of a key and of a MAC, in bytes: that of SHA-256.
const KEY_BYTES: usize = 32;

/// The size of a nonce, in bytes.
const NONCE_BYTES: usize = 16;

/// The key under which a daemon makes and checks secrets.
#[derive(Clone)]
pub struct IdentityKey {
    key: [u8; KEY_BYTES],
    /// The daemon's work directory, as [`canonical_work_dir`](super::canonical_work_dir) gives it.
    work_dir: PathBuf,
}

/// The secret of one start.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StartSecret(Arc<str>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be made or read.
    #[error("{}: the key of the daemon cannot be read or made: {}", .0.display(), ops_runtime::errno::remedy(.1))]
    Unusable(PathBuf, #[source] io::Error),
    /// Other users could read it or replace it.
    #[error("{} has mode {mode:o}: remove it if other users may know it, or run `chmod 600` on it", .path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The content is not a key.
    #[error("{} is not a key of 32 bytes: remove it; the daemon then makes another", .0.display())]
    Damaged(PathBuf),
}

impl IdentityKey {
    /// Reads the key in a daemon's work directory, and makes it at the first start. It is never rewritten, so secrets stay valid
    /// for as long as the directory exists. The caller holds the lock of the directory.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub fn open(work_dir: &Path) -> Result<Self, KeyError> {
        let path = work_dir.join(KEY_FILE);
        let unusable = |error: io::Error| KeyError::Unusable(path.clone(), error);
        let key = match read(&path)? {
            Some(key) => key,
            None => make(work_dir, &path).map_err(unusable)?,
        };
        Ok(Self { key, work_dir: super::canonical_work_dir(work_dir) })
    }

    /// A new secret for a start of this agent.
    ///
    /// # Errors
    ///
    /// If the kernel gives no random bytes.
    pub fn issue(&self, id: &str) -> io::Result<StartSecret> {
        let nonce = hex(&random::<NONCE_BYTES>()?);
        let mac = hex(&self.mac(id, &nonce).finalize().into_bytes());
        Ok(StartSecret(format!("{nonce}.{mac}").into()))
    }

    /// Whether this daemon, or an earlier one in the same work directory, made the secret for this agent.
    #[must_use]
    pub fn proves(&self, id: &str, secret: &StartSecret) -> bool {
        let Some((nonce, mac)) = secret.0.split_once('.') else { return false };
        nonce.len() == 2 * NONCE_BYTES && unhex(mac).is_some_and(|mac| self.mac(id, nonce).verify_slice(&mac).is_ok())
    }

    fn mac(&self, id: &str, nonce: &str) -> Hmac<Sha256> {
        // A key of any length is valid, so there is always a MAC.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap_or_else(|_| unreachable!("any length is valid"));
        for part in [nonce.as_bytes(), id.as_bytes(), self.work_dir.as_os_str().as_bytes()] {
            mac.update(part);
            mac.update(&[0]);
        }
        mac
    }
}

impl StartSecret {
    /// A secret as a process presents it. It proves nothing before it is compared or checked.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, which is given to the agent and to no log or API.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its nonce, which is in the name of the start's cgroup and proves nothing. `None`: it has no valid one.
    pub(super) fn nonce(&self) -> Option<&str> {
        let (nonce, _) = self.0.split_once('.')?;
        let is_valid = nonce.len() == 2 * NONCE_BYTES && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_valid.then_some(nonce)
    }

    /// Whether it is the same secret. The time of the comparison does not tell how much of it is right.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for StartSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartSecret(…)")
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityKey").field("work_dir", &self.work_dir).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Option<[u8; KEY_BYTES]>, KeyError> {
    let unusable = |error: io::Error| KeyError::Unusable(path.to_owned(), error);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(unusable(error.into())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| unusable(error.into()))?;
    if stat.st_mode & 0o077 != 0 {
        return Err(KeyError::Readable { path: path.to_owned(), mode: stat.st_mode & 0o777 });
    }
    let mut bytes = Vec::new();
    File::from(file).take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unusable)?;
    bytes.try_into().map(Some).map_err(|_| KeyError::Damaged(path.to_owned()))
}

/// Makes a key. It appears under its name only when it is complete and on the disk.
fn make(work_dir: &Path, path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let key = random::<KEY_BYTES>()?;
    let unfinished = work_dir.join(".identity.key.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(retry_on_intr(|| rustix::fs::open(&unfinished, flags, Mode::RUSR | Mode::WUSR))?);
    io::Write::write_all(&mut &file, &key)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    // Not every file system can do this for a directory. The key is made anew only if the rename was lost too.
    let _ = File::open(work_dir).and_then(|directory| directory.sync_all());
    Ok(key)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled +=
            retry_on_intr(|| rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()))?;
    }
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).ok();
    is_hex.then(|| (0..text.len()).step_by(2).map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_proves_one_agent_of_one_work_directory() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = IdentityKey::open(one.path()).unwrap();
        let secret = key.issue("a").unwrap();
        assert!(key.proves("a", &secret));
        assert!(IdentityKey::open(one.path()).unwrap().proves("a", &secret), "the next daemon has the same key");
        assert!(!key.proves("b", &secret), "not for another agent");
        assert!(!IdentityKey::open(other.path()).unwrap().proves("a", &secret), "not under another key");
        assert_ne!(key.issue("a").unwrap(), secret, "each start has its own");
    }

    #[test]
    fn a_changed_or_foreign_secret_proves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let key = IdentityKey::open(directory.path()).unwrap();
        let secret = key.issue("a").unwrap();
        let text = secret.reveal();
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!key.proves("a", &StartSecret::presented(&changed)), "{at}");
            assert!(!secret.is(&changed));
        }
        for foreign in ["", ".", "x", "a.b", &text[..text.len() - 2], &format!("{text}00"), "é.é"] {
            assert!(!key.proves("a", &StartSecret::presented(foreign)), "{foreign}");
        }
        assert!(secret.is(text));
        assert!(!format!("{secret:?} {key:?}").contains(text));
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_damaged_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        IdentityKey::open(directory.path()).unwrap();
        let path = directory.path().join(KEY_FILE);
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        mode(0o640);
        assert!(matches!(IdentityKey::open(directory.path()), Err(KeyError::Readable { mode: 0o640, .. })));
        mode(0o600);
        fs::write(&path, "short").unwrap();
        assert!(matches!(IdentityKey::open(directory.path()), Err(KeyError::Damaged(_))));
    }
}
