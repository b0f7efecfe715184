//! The bearer token that a caller may need for changes over TCP.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use subtle::ConstantTimeEq;

use crate::exposure::exposure;
use crate::log_limit::LogLimit;
use crate::tls::{FileProblem, Role};
use ops_runtime::small_file;

/// The size limit of a token file, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The requests with a wrong token since the start of the program.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// The limit of warnings about them.
static WARNINGS: Mutex<LogLimit> = Mutex::new(LogLimit::new());

/// How many requests had a wrong token since the start of the program.
#[must_use]
pub fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// A secret token. Clones share it, so [`Token::replace`] changes it for all of them. `Debug` does not show it.
#[derive(Clone)]
pub struct Token(Arc<Mutex<String>>);

impl Token {
    /// Takes the token from the content of a token file: its first line, trimmed. `None` if the line is empty or has
    /// bytes that a header cannot carry.
    #[must_use]
    pub fn from_file(content: &str) -> Option<Self> {
        let line = content.lines().next().unwrap_or_default().trim();
        let usable = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_graphic());
        usable.then(|| Self(Arc::new(Mutex::new(line.to_owned()))))
    }

    /// Reads the token from its file. Returns a warning too, if other users can read or write the file. Blocks on the
    /// disk, but never on a pipe.
    ///
    /// # Errors
    ///
    /// A problem if the file cannot be read, or has no token.
    pub fn read(path: &Path) -> Result<(Self, Option<FileProblem>), FileProblem> {
        let refuse = |fact: &str, remedy: &str| Err(FileProblem::new(Role::Token, path, fact, remedy));
        let bytes = match small_file::read(path, MAX_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return refuse("which is not a regular file", "use a file with a token in its first line"),
            Err(error) => {
                let remedy = "create it, readable for this user only, or correct the path";
                return refuse(&format!("which cannot be read: {error}"), remedy);
            }
        };
        if bytes.len() > MAX_BYTES {
            let fact = format!("which is larger than {} KiB", MAX_BYTES / 1024);
            return refuse(&fact, "use a file that contains only the token");
        }
        let Some(token) = Self::from_file(&String::from_utf8_lossy(&bytes)) else {
            return refuse("which has no token", "write one into its first line, in visible ASCII characters");
        };
        Ok((token, exposure(Role::Token, path)))
    }

    /// Whether an `Authorization` header carries this token. The comparison takes the same time for all tokens of one
    /// length.
    fn is_in(&self, authorization: &str) -> bool {
        let Some((scheme, given)) = authorization.split_once(' ') else { return false };
        scheme.eq_ignore_ascii_case("bearer") && bool::from(given.trim().as_bytes().ct_eq(self.text().as_bytes()))
    }

    /// Whether a request from `peer`, or else from this host, may pass, by its `Authorization` header. A wrong token is counted and logged, but
    /// never shown.
    #[must_use]
    pub fn admits(&self, authorization: Option<&str>, peer: Option<IpAddr>) -> bool {
        let Some(given) = authorization else { return false };
        if self.is_in(given) {
            return true;
        }
        REFUSED.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner).count() {
            let peer = peer.map_or_else(|| "this host".to_owned(), |peer| peer.to_string());
            tracing::warn!(peer, count, "a request has a wrong token, and is refused");
        }
        false
    }

    /// Takes the text of `new`, for all clones of this token. Returns whether it differs.
    pub fn replace(&self, new: &Self) -> bool {
        if self == new {
            return false;
        }
        let text = new.text().clone();
        *self.text() = text;
        true
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        let other = other.text().clone();
        bool::from(self.text().as_bytes().ct_eq(other.as_bytes()))
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
