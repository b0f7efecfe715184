//! The text of a status file, and its checksum.
//!
//! The last two lines are the checksum and the closing bracket; the checksum is the CRC-32 (as in gzip and PNG) of every
//! byte before them. So `crc32 <(head -n -2 agent-001.ron)` checks a file by hand. A reader forms those two lines from
//! what comes before and compares them whole: every flipped byte shows, in the body, in the checksum and behind it. This
//! frame is the same in every schema. It tells accidents, not attacks: who may write the file may write its checksum.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::{SCHEMA, StatusFile};

/// No status file is longer, in bytes: 32 transitions whose causes are clipped and escaped take less than half of it.
pub const MAX_BYTES: usize = 256 * 1024;

/// What the text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Rusty Object Notation.
    Ron,
    /// JSON.
    Json,
}

impl Format {
    /// JSON if the name ends in `.json`, RON otherwise.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            Self::Json
        } else {
            Self::Ron
        }
    }

    /// The last two lines of a text that begins with `body`.
    fn tail(self, body: &[u8]) -> String {
        let sum = crc32fast::hash(body);
        match self {
            Self::Ron => format!("    checksum: \"crc32:{sum:08x}\",\n)\n"),
            Self::Json => format!("  \"checksum\": \"crc32:{sum:08x}\"\n}}\n"),
        }
    }

    /// What the body of every whole text begins with.
    const fn opening(self) -> &'static [u8] {
        match self {
            Self::Ron => b"(\n    schema: ",
            Self::Json => b"{\n  \"schema\": ",
        }
    }
}

impl StatusFile {
    /// The text that goes into the file.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if a value cannot be written in this format, which none of these types should know.
    pub fn encode(&self, format: Format) -> Result<String, EncodeError> {
        // A file with a full history takes about 6 KiB.
        let mut text = String::with_capacity(8 * 1024);
        self.encode_into(format, &mut text)?;
        Ok(text)
    }

    /// As [`StatusFile::encode`], into a buffer that is used again and again.
    ///
    /// # Errors
    ///
    /// As [`StatusFile::encode`].
    pub fn encode_into(&self, format: Format, text: &mut String) -> Result<(), EncodeError> {
        text.clear();
        match format {
            Format::Ron => {
                // One transition or fault a line, however long.
                let pretty = ron::ser::PrettyConfig::new().new_line("\n").depth_limit(2);
                ron::ser::to_writer_pretty(&mut *text, self, pretty).map_err(EncodeError::Ron)?;
                text.pop();
            }
            Format::Json => {
                text.push_str(&serde_json::to_string_pretty(self).map_err(EncodeError::Json)?);
                text.truncate(text.trim_end_matches(['\n', '}']).len());
                text.push_str(",\n");
            }
        }
        let tail = format.tail(text.as_bytes());
        text.push_str(&tail);
        Ok(())
    }

    /// Reads what [`StatusFile::encode`] wrote, in either format.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are anything but what an agent of this or an earlier schema wrote, whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (format, text) = verify(bytes)?;
        let file: Result<Self, String> = parse(format, text);
        match file {
            Ok(file) if file.schema == SCHEMA => Ok(file),
            Ok(_) | Err(_) => Err(match (parse::<Header>(format, text), file) {
                (Ok(Header { schema }), _) if schema > SCHEMA => DecodeError::NewerSchema(schema),
                (_, Err(error)) => DecodeError::Malformed(error),
                (_, Ok(_)) => DecodeError::Malformed("schema 0 has never been one".to_owned()),
            }),
        }
    }
}

/// The one field that every schema has.
#[derive(Deserialize)]
struct Header {
    schema: u32,
}

/// Finds the format and proves that the text is whole and unchanged.
fn verify(bytes: &[u8]) -> Result<(Format, &str), DecodeError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err(DecodeError::Empty);
    };
    if *first == 0 || *last == 0 {
        return Err(DecodeError::Nuls);
    }
    let format = if *first == b'{' { Format::Json } else { Format::Ron };
    let opening = format.opening();
    let seen = bytes.get(..opening.len()).unwrap_or(bytes);
    if !opening.starts_with(seen) {
        return Err(DecodeError::NotAStatusFile);
    }
    let tail_length = format.tail(&[]).len();
    let Some((body, tail)) = bytes.len().checked_sub(tail_length).and_then(|at| bytes.split_at_checked(at)) else {
        return Err(DecodeError::Torn);
    };
    let expected = format.tail(body);
    if tail != expected.as_bytes() {
        let framed = is_tail(format, tail);
        return Err(if framed { DecodeError::Edited } else { DecodeError::Torn });
    }
    let text = str::from_utf8(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    Ok((format, text))
}

/// Whether these bytes are the last two lines of some status file.
fn is_tail(format: Format, tail: &[u8]) -> bool {
    // The sum of nothing is all zeros: they stand where any digit may, and nowhere else.
    let fits = |(sample, seen): (u8, &u8)| sample == *seen || (sample == b'0' && seen.is_ascii_hexdigit());
    format.tail(&[]).bytes().zip(tail).all(fits)
}

fn parse<'a, T: Deserialize<'a>>(format: Format, text: &'a str) -> Result<T, String> {
    match format {
        Format::Ron => ron::from_str(text).map_err(|error| error.to_string()),
        Format::Json => serde_json::from_str(text).map_err(|error| error.to_string()),
    }
}

/// Why bytes are not a status file that can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// There are none.
    Empty,
    /// NULs where text should be.
    Nuls,
    /// It does not begin as a status file does.
    NotAStatusFile,
    /// It begins well and then ends too soon.
    Torn,
    /// It is all there, but not as it was written.
    Edited,
    /// It is as it was written, but by a newer agent, with this schema.
    NewerSchema(u32),
    /// It is as it was written, but does not say what a status file says.
    Malformed(String),
    /// Longer than [`MAX_BYTES`]: this many bytes, or at least so many.
    TooLong(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Nuls => f.write_str("it holds NULs instead of text, as after a power cut"),
            Self::NotAStatusFile => f.write_str("it is not a status file: look whether the path is right"),
            Self::Torn => f.write_str("it is torn: its end is missing"),
            Self::Edited => f.write_str("its checksum is wrong: it was edited or damaged after it was written"),
            Self::NewerSchema(schema) => {
                write!(f, "it has schema {schema}, and this program knows {SCHEMA}: update this program")
            }
            Self::Malformed(what) => write!(f, "its fields are wrong: {what}"),
            Self::TooLong(bytes) => write!(f, "it has {bytes} bytes, and a status file never more than {MAX_BYTES}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a status cannot be put into text.
#[derive(Debug)]
pub enum EncodeError {
    /// The RON writer said no.
    Ron(ron::Error),
    /// The JSON writer said no.
    Json(serde_json::Error),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the status cannot be put into text")
    }
}

impl std::error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ron(error) => Some(error),
            Self::Json(error) => Some(error),
        }
    }
}
