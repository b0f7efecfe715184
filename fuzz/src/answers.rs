//! Bytes as HTTP answers, read strictly: an answer that a proxy could read in two ways is a finding.

/// One answer, without the `100 Continue` before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    /// Also empty for an answer to HEAD, whatever its `content-length` is.
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(key, _)| key == name);
        let first = all.next();
        assert!(all.next().is_none(), "`{name}` twice in {self:?}");
        first.map(|(_, value)| value.as_str())
    }

    /// JSON is valid, and all errors have the same form.
    fn assert_valid(&self) {
        let content_type = self.header("content-type").unwrap_or_else(|| panic!("no `content-type`: {self:?}"));
        if content_type == "application/json" && !self.body.is_empty() {
            let json: serde_json::Value =
                serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
            let has_text = |key: &str| json[key].as_str().is_some_and(|text| !text.is_empty());
            assert!(!(400..500).contains(&self.status) || (has_text("error") && has_text("code")), "{self:?}");
        } else {
            assert!(!(400..500).contains(&self.status) || self.body.is_empty(), "an error that is not JSON: {self:?}");
        }
        assert_eq!(self.status == 405, self.header("allow").is_some(), "{self:?}");
    }
}

/// All answers. `is_complete`: the peer has read everything, so nothing may be missing at the end.
pub(super) fn read(bytes: &[u8], is_complete: bool) -> Vec<Answer> {
    let mut rest = std::str::from_utf8(bytes).unwrap_or_else(|error| {
        assert!(!is_complete, "{error} in {:?}", String::from_utf8_lossy(bytes));
        std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid up to there")
    });
    let mut answers: Vec<Answer> = Vec::new();
    while !rest.is_empty() {
        let is_closed = answers.last().and_then(|answer| answer.header("connection")) == Some("close");
        assert!(!is_closed, "more after `connection: close`: {rest:?}");
        let Some((head, after)) = rest.split_once("\r\n\r\n") else {
            assert!(!is_complete, "an incomplete head: {rest:?}");
            break;
        };
        let mut answer = head_of(head);
        if answer.status == 100 {
            rest = after;
            continue;
        }
        let length: usize = match answer.header("content-length").map(str::parse) {
            Some(Ok(length)) => length,
            _ => panic!("no `content-length`: {head:?}"),
        };
        let bodiless = after.is_empty() || after.starts_with("HTTP/1.");
        match after.split_at_checked(length) {
            _ if bodiless => rest = after,
            Some((body, after)) => {
                answer.body = body.to_owned();
                rest = after;
            }
            None => {
                assert!(!is_complete, "an incomplete body after {head:?}");
                break;
            }
        }
        answer.assert_valid();
        answers.push(answer);
    }
    answers
}

fn head_of(head: &str) -> Answer {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = match first.as_bytes() {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', code @ .., b' '] => code,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', a, b, c, b' ', ..] => &[*a, *b, *c][..],
        _ => panic!("not a status line: {first:?}"),
    };
    let status = std::str::from_utf8(status).ok().and_then(|code| code.parse().ok());
    let status = status.filter(|code| (100..600).contains(code)).unwrap_or_else(|| panic!("not a status: {first:?}"));
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("not a header: {line:?}"));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{line:?}");
        assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{line:?}");
        (name.to_owned(), value.to_owned())
    };
    Answer { status, headers: lines.map(header).collect(), body: String::new() }
}
