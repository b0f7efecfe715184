//! The bearer token that whoever asks for a change over TCP may have to show.

use std::fmt;
use std::path::Path;

use subtle::ConstantTimeEq;

/// A secret. It never shows itself.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// From the content of a token file: its first line without blanks around it. `None` if that is empty, or if it has
    /// bytes that no header can carry.
    #[must_use]
    pub fn from_file(content: &str) -> Option<Self> {
        let line = content.lines().next().unwrap_or_default().trim();
        let usable = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_graphic());
        usable.then(|| Self(line.to_owned()))
    }

    /// Reads one from its file. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// The fact, and what to do.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!("token file {}: {error}; put a token there that only this user can read", path.display())
        })?;
        Self::from_file(&text).ok_or_else(|| format!("token file {} has no token in its first line", path.display()))
    }

    /// Whether an `Authorization` header carries this token. How long that takes says nothing about the secret but its
    /// length.
    #[must_use]
    pub fn is_in(&self, authorization: &str) -> bool {
        let Some((scheme, given)) = authorization.split_once(' ') else { return false };
        scheme.eq_ignore_ascii_case("bearer") && bool::from(given.trim().as_bytes().ct_eq(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
