//! Reads a file with variables: `NAME=value` lines.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use ops_runtime::errno::{is_shortage, remedy};
use ops_runtime::small_file;

use super::process::{EnvFile, refused_name};

/// The size limit of a file, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Why a file with variables cannot be used.
#[derive(Debug)]
pub struct EnvFileError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Missing,
    Unreadable(io::Error),
    NotAFile,
    TooLarge,
    /// The number of a line, and what is wrong with it. The line may contain a secret, so it is not shown.
    Line(usize, &'static str),
    /// The number of a line, and what is wrong with the name in it.
    Name(usize, &'static str),
}

impl EnvFile {
    /// Reads the variables, in the order of the file. Blocks on the disk, but never on a pipe.
    ///
    /// # Errors
    ///
    /// [`EnvFileError`]: no variable of the file is used.
    pub fn read(&self) -> Result<Vec<(OsString, OsString)>, EnvFileError> {
        let error = |reason| EnvFileError { path: self.path.clone(), reason };
        let bytes = match small_file::read(&self.path, MAX_BYTES) {
            Ok(Some(bytes)) if bytes.len() > MAX_BYTES => return Err(error(Reason::TooLarge)),
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(error(Reason::NotAFile)),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound && self.optional => return Ok(Vec::new()),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Err(error(Reason::Missing)),
            Err(unreadable) => return Err(error(Reason::Unreadable(unreadable))),
        };
        variables(&bytes).map_err(error)
    }
}

/// The variables in the text of a file, or the first line that is wrong.
fn variables(text: &[u8]) -> Result<Vec<(OsString, OsString)>, Reason> {
    let mut variables = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let number = index + 1;
        let equals = line.iter().position(|byte| *byte == b'=').ok_or(Reason::Line(number, "has no `=`"))?;
        let (name, value) = (OsStr::from_bytes(&line[..equals]), unquoted(&line[equals + 1..]));
        if let Some(refused) = refused_name(name.to_str().unwrap_or_default()) {
            return Err(Reason::Name(number, refused));
        }
        if value.contains(&0) {
            return Err(Reason::Line(number, "contains a NUL byte"));
        }
        variables.push((name.to_owned(), OsString::from_vec(value.to_vec())));
    }
    Ok(variables)
}

/// The value without the quotes around it.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        bare => bare,
    }
}

impl fmt::Display for EnvFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Missing => {
                write!(f, "environment file {path} does not exist: create it, or write `-` before its path")
            }
            Reason::Unreadable(error) if is_shortage(error) => {
                write!(f, "environment file {path} cannot be read: {}", remedy(error))
            }
            Reason::Unreadable(_) => {
                write!(f, "environment file {path} cannot be read: let the daemon's user read it")
            }
            Reason::NotAFile => write!(f, "environment file {path} is not a regular file: correct `env_file`"),
            Reason::TooLarge => {
                write!(f, "environment file {path} is larger than {} KiB: make it smaller", MAX_BYTES / 1024)
            }
            Reason::Line(number, fact) => {
                write!(f, "line {number} of environment file {path} {fact}: write `NAME=value` lines")
            }
            Reason::Name(number, fact) => {
                write!(f, "the name in line {number} of environment file {path} {fact}: use another name")
            }
        }
    }
}

impl Error for EnvFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause().map(|error| error as &(dyn Error + 'static))
    }
}

impl EnvFileError {
    /// The error of the read, if that failed.
    #[must_use]
    pub const fn cause(&self) -> Option<&io::Error> {
        match &self.reason {
            Reason::Unreadable(error) => Some(error),
            Reason::Missing | Reason::NotAFile | Reason::TooLarge | Reason::Line(..) | Reason::Name(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_variable_or_a_comment() {
        let found = variables(b"A=1\r\n\n# B=2\n  C=x\nD=a=b #c\nE=\nF=\" q \"\nG='\nH=\xff\n").unwrap();
        let found: Vec<(&[u8], &[u8])> =
            found.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let expected: [(&[u8], &[u8]); 7] =
            [(b"A", b"1"), (b"C", b"x"), (b"D", b"a=b #c"), (b"E", b""), (b"F", b" q "), (b"G", b"'"), (b"H", b"\xff")];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_wrong_line_is_refused_with_its_number_and_without_its_text() {
        for (text, line) in
            [("a\n", 1), ("A=1\n=2\n", 2), ("A B=1", 1), ("A=1\n\nB=\0\n", 3), ("OPS_AGENT_START_SECRET=x", 1)]
        {
            let (Reason::Line(found, _) | Reason::Name(found, _)) = variables(text.as_bytes()).unwrap_err() else {
                panic!("{text:?}")
            };
            assert_eq!(found, line, "{text:?}");
        }
    }
}
