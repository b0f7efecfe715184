//! The query of `GET /agents/ID/logs`.

use ops_protocol::{ApiError, ErrorCode};

/// The default number of lines.
const DEFAULT_LINES: usize = 100;

/// The largest number of lines.
const MAX_LINES: usize = 10_000;

/// What of an agent's output is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogsQuery {
    /// The number of lines, from the end.
    pub(super) lines: usize,
    /// Whether new lines follow as they are written.
    pub(super) follow: bool,
}

impl LogsQuery {
    /// # Errors
    ///
    /// If a parameter is unknown or has another value. No value needs percent-encoding.
    pub(super) fn of(query: &str) -> Result<Self, ApiError> {
        let mut asked = Self { lines: DEFAULT_LINES, follow: false };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("lines", number) => {
                    let lines = number.parse().ok().filter(|lines| (1..=MAX_LINES).contains(lines));
                    let invalid = || invalid(&format!("`lines` is {number:?}: give a number from 1 to {MAX_LINES}"));
                    asked.lines = lines.ok_or_else(invalid)?;
                }
                ("follow", "" | "1" | "true") => asked.follow = true,
                ("follow", "0" | "false") => asked.follow = false,
                ("follow", other) => return Err(invalid(&format!("`follow` is {other:?}: give true or false"))),
                (name, _) => return Err(invalid(&format!("{name:?} is not a parameter: use `lines` or `follow`"))),
            }
        }
        Ok(asked)
    }
}

fn invalid(text: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_follow_have_defaults_and_limits() {
        let of = |query| LogsQuery::of(query).map_err(|error| error.to_string());
        assert_eq!(of(""), Ok(LogsQuery { lines: DEFAULT_LINES, follow: false }));
        assert_eq!(of("lines=5&follow=true"), Ok(LogsQuery { lines: 5, follow: true }));
        assert_eq!(of("follow&lines=10000"), Ok(LogsQuery { lines: MAX_LINES, follow: true }));
        for wrong in ["lines=0", "lines=10001", "lines=-1", "lines=", "follow=yes", "tail=5"] {
            let error = of(wrong).unwrap_err();
            assert!(error.contains("give") || error.contains("use"), "{wrong}: {error}");
        }
    }
}
