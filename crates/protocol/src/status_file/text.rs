//! The text of a status file, and its checksum.
//!
//! The last two lines are the checksum and the closing bracket. The checksum is the CRC-32 (as in gzip and PNG) of
//! all bytes before these lines, so `crc32 <(head -n -2 agent-001.ron)` checks a file by hand. A reader computes the
//! two lines from the bytes before them and compares them whole. So a changed byte is found in the body, in the
//! checksum and after it. The frame is the same in every schema. It detects accidents, not attacks: a user that may
//! write the file may also write its checksum.

use std::path::Path;

use serde::Deserialize;

use super::error::{DecodeError, EncodeError};
use super::record::{MAX_BYTES, SCHEMA, StatusFile};

/// The format of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Rusty Object Notation.
    Ron,
    /// JSON.
    Json,
}

impl FileFormat {
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

    /// The first bytes of every complete text.
    const fn opening(self) -> &'static [u8] {
        match self {
            Self::Ron => b"(\n    schema: ",
            Self::Json => b"{\n  \"schema\": ",
        }
    }
}

impl StatusFile {
    /// The text of the file.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if a value cannot be written in this format. No value of these types is known to cause it.
    pub fn encode(&self, format: FileFormat) -> Result<String, EncodeError> {
        // A file with a full history takes about 6 KiB.
        let mut text = String::with_capacity(8 * 1024);
        self.encode_into(format, &mut text)?;
        Ok(text)
    }

    /// As [`StatusFile::encode`], into a buffer that the caller reuses.
    ///
    /// # Errors
    ///
    /// As [`StatusFile::encode`].
    pub fn encode_into(&self, format: FileFormat, text: &mut String) -> Result<(), EncodeError> {
        text.clear();
        match format {
            FileFormat::Ron => {
                // One line per transition or fault.
                let pretty = ron::ser::PrettyConfig::new().new_line("\n").depth_limit(2);
                ron::ser::to_writer_pretty(&mut *text, self, pretty).map_err(EncodeError::Ron)?;
                text.pop();
            }
            FileFormat::Json => {
                text.push_str(&serde_json::to_string_pretty(self).map_err(EncodeError::Json)?);
                text.truncate(text.trim_end_matches(['\n', '}']).len());
                text.push_str(",\n");
            }
        }
        let tail = format.tail(text.as_bytes());
        text.push_str(&tail);
        Ok(())
    }

    /// Reads the output of [`StatusFile::encode`], in either format.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are not a complete status file of this schema.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (format, text) = verify(bytes)?;
        let file: Result<Self, DecodeError> = parse(format, text);
        match file {
            Ok(file) if file.schema == SCHEMA => Ok(file),
            // The fields of a newer schema are unknown, so its file may be readable or not.
            Ok(_) | Err(_) => Err(match (parse::<Header>(format, text), file) {
                (Ok(Header { schema }), _) if schema > SCHEMA => DecodeError::NewerSchema(schema),
                (_, Err(error)) => error,
                (_, Ok(file)) => DecodeError::Malformed(format!("there is no schema {}", file.schema)),
            }),
        }
    }
}

/// The field that every schema has.
#[derive(Deserialize)]
struct Header {
    schema: u32,
}

/// Finds the format, and checks that the text is complete and unchanged.
fn verify(bytes: &[u8]) -> Result<(FileFormat, &str), DecodeError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err(DecodeError::Empty);
    };
    if *first == 0 || *last == 0 {
        return Err(DecodeError::Nuls);
    }
    let format = if *first == b'{' { FileFormat::Json } else { FileFormat::Ron };
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

/// Whether these bytes have the form of the last two lines of a status file.
fn is_tail(format: FileFormat, tail: &[u8]) -> bool {
    // The checksum of no bytes is all zeros: any hex digit is valid in their place, and nowhere else.
    let fits = |(sample, seen): (u8, &u8)| sample == *seen || (sample == b'0' && seen.is_ascii_hexdigit());
    format.tail(&[]).bytes().zip(tail).all(fits)
}

fn parse<'a, T: Deserialize<'a>>(format: FileFormat, text: &'a str) -> Result<T, DecodeError> {
    match format {
        FileFormat::Ron => ron::from_str(text).map_err(|error| DecodeError::Malformed(error.to_string())),
        FileFormat::Json => serde_json::from_str(text).map_err(|error| DecodeError::Malformed(error.to_string())),
    }
}
