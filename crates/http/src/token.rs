//! The bearer token that a caller may need for changes over TCP.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use subtle::ConstantTimeEq;

/// Why no token can be read from a file.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("token file {} cannot be read: create it, readable for this user only", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// The first line is empty, or has bytes that a header cannot carry.
    #[error("token file {} has no token: write one into its first line, in visible ASCII characters", .0.display())]
    NoToken(PathBuf),
}

/// A secret token. `Debug` does not show it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes the token from the content of a token file: its first line, trimmed. `None` if the line is empty or has
    /// bytes that a header cannot carry.
    #[must_use]
    pub fn from_file(content: &str) -> Option<Self> {
        let line = content.lines().next().unwrap_or_default().trim();
        let usable = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_graphic());
        usable.then(|| Self(line.to_owned()))
    }

    /// Reads the token from its file. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`TokenError`] if the file cannot be read, or has no token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path).map_err(|error| TokenError::Unreadable(path.to_owned(), error))?;
        Self::from_file(&text).ok_or_else(|| TokenError::NoToken(path.to_owned()))
    }

    /// Whether an `Authorization` header carries this token. The comparison takes the same time for all tokens of one
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
