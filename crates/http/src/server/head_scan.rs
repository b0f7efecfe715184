//! Finds in the bytes of requests what hyper hides: two lengths for one body, and lines that end without a carriage return.
//!
//! A proxy may read such a request in another way than this server, and take a part of it for another request. hyper drops the
//! header `content-length` where there is a `transfer-encoding` too, and takes a bare line feed for the end of a line.

use std::io::BufRead as _;

use super::refusal::Refusal;

/// The length of a line that is kept: enough for each header that counts and its value.
const KEPT: usize = 40;

const CONTENT_LENGTH: &[u8] = b"content-length:";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";

/// What is wrong with a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadError {
    TwoLengths,
    BareLineFeed,
    BadLength,
}

impl HeadError {
    pub(super) fn refusal(self) -> Refusal {
        Refusal::invalid(match self {
            Self::TwoLengths => "`content-length` and `transfer-encoding` are both set: send one of them",
            Self::BareLineFeed => "a line of the request head ends without a carriage return: end each line with CR LF",
            Self::BadLength => "`content-length` is malformed: send a number",
        })
    }
}

/// The heads that have arrived and were not taken yet: how many are right, and what is wrong with the one after them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heads {
    right: u32,
    wrong: Option<HeadError>,
}

impl Heads {
    /// Takes the next head.
    pub(super) const fn take(&mut self) -> Option<HeadError> {
        match self.right.checked_sub(1) {
            Some(left) => {
                self.right = left;
                None
            }
            None => self.wrong,
        }
    }
}

/// Where the bytes of a connection are.
#[derive(Debug)]
enum Place {
    /// In a head, or before one.
    Head,
    /// In a body with so many bytes left.
    Body(u64),
    /// At the last request of the connection. A chunked body ends it, too.
    End,
}

/// Scans the bytes of one connection as they arrive.
#[derive(Debug)]
pub(super) struct HeadScan {
    place: Place,
    /// The beginning of the current line, and how much of it has arrived.
    line: [u8; KEPT],
    length: usize,
    /// The last byte of the line.
    last: u8,
    /// Whether the request line has arrived.
    has_begun: bool,
    content_length: Option<u64>,
    is_chunked: bool,
}

impl HeadScan {
    pub(super) const fn new() -> Self {
        Self {
            place: Place::Head,
            line: [0; KEPT],
            length: 0,
            last: 0,
            has_begun: false,
            content_length: None,
            is_chunked: false,
        }
    }

    /// Scans more bytes, and adds the heads that end in them.
    pub(super) fn feed(&mut self, mut bytes: &[u8], heads: &mut Heads) {
        while !bytes.is_empty() {
            match self.place {
                Place::Head => bytes = self.head(bytes, heads),
                Place::Body(left) => {
                    let skipped = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    bytes = &bytes[skipped..];
                    let left = left - skipped as u64;
                    self.place = if left > 0 { Place::Body(left) } else { Place::Head };
                }
                Place::End => return,
            }
        }
    }

    /// Scans up to the end of a line. Returns the bytes after it.
    fn head<'b>(&mut self, bytes: &'b [u8], heads: &mut Heads) -> &'b [u8] {
        let mut rest = bytes;
        // The fast search of the standard library for one byte. It cannot fail on bytes in memory.
        let _ = rest.skip_until(b'\n');
        let line = &bytes[..bytes.len() - rest.len()];
        let (part, has_ended) = line.strip_suffix(b"\n").map_or((line, false), |part| (part, true));
        if let Some(free) = self.line.get_mut(self.length..) {
            let kept = part.len().min(free.len());
            free[..kept].copy_from_slice(&part[..kept]);
        }
        self.length += part.len();
        self.last = part.last().copied().unwrap_or(self.last);
        if !has_ended {
            return rest;
        }
        if let Err(error) = self.line_ended(heads) {
            heads.wrong.get_or_insert(error);
            self.place = Place::End;
        }
        (self.length, self.last) = (0, 0);
        rest
    }

    fn line_ended(&mut self, heads: &mut Heads) -> Result<(), HeadError> {
        if self.last != b'\r' {
            return Err(HeadError::BareLineFeed);
        }
        let length = self.length - 1;
        if length == 0 {
            // hyper skips empty lines before a request.
            return if self.has_begun { self.head_ended(heads) } else { Ok(()) };
        }
        let line = &self.line[..length.min(KEPT)];
        let has_name = |name: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        if !self.has_begun {
            self.has_begun = true;
        } else if has_name(TRANSFER_ENCODING) {
            self.is_chunked = true;
        } else if has_name(CONTENT_LENGTH) {
            let value = str::from_utf8(&line[CONTENT_LENGTH.len()..]).ok().filter(|_| length <= KEPT);
            let value = value.and_then(|value| value.trim().parse().ok());
            self.content_length = Some(value.ok_or(HeadError::BadLength)?);
        }
        Ok(())
    }

    fn head_ended(&mut self, heads: &mut Heads) -> Result<(), HeadError> {
        if self.is_chunked && self.content_length.is_some() {
            return Err(HeadError::TwoLengths);
        }
        heads.right = heads.right.saturating_add(1);
        self.has_begun = false;
        self.place = match self.content_length.take() {
            _ if self.is_chunked => Place::End,
            None | Some(0) => Place::Head,
            Some(length) => Place::Body(length),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of all heads in `bytes`, which arrive in parts of this size.
    fn results(bytes: &[u8], part: usize, count: usize) -> Vec<Option<HeadError>> {
        let (mut scan, mut heads) = (HeadScan::new(), Heads::default());
        bytes.chunks(part).for_each(|part| scan.feed(part, &mut heads));
        (0..count).map(|_| heads.take()).collect()
    }

    #[test]
    fn each_head_is_judged_wherever_its_bytes_are_split() {
        use HeadError::{BadLength, BareLineFeed, TwoLengths};
        let get = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        let post = "POST / HTTP/1.1\r\nContent-Length:  4 \r\n\r\n\n\n\r\n";
        let both = "POST / HTTP/1.1\r\nTransfer-encoding: chunked\r\nhost: x\r\ncontent-length: 4\r\n\r\n";
        let bare = "GET / HTTP/1.1\nhost: x\r\n\r\n";
        let long = format!("POST / HTTP/1.1\r\ncontent-length:{}1\r\n\r\n", " ".repeat(40));
        let cases: [(String, &[Option<HeadError>]); 8] = [
            (get.to_owned(), &[None]),
            (format!("\r\n{get}{post}{get}"), &[None; 3]),
            (both.to_owned(), &[Some(TwoLengths)]),
            (format!("{post}{both}"), &[None, Some(TwoLengths)]),
            (bare.to_owned(), &[Some(BareLineFeed)]),
            (format!("{get}{bare}"), &[None, Some(BareLineFeed)]),
            (format!("{get}{long}"), &[None, Some(BadLength)]),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n".to_owned(), &[None]),
        ];
        for (bytes, expected) in cases {
            for part in 1..=bytes.len() {
                assert_eq!(results(bytes.as_bytes(), part, expected.len()), expected, "{bytes:?} in parts of {part}");
            }
        }
    }
}
