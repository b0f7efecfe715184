//! The web page.

use http::{HeaderValue, Response, StatusCode};
use hyper::body::Bytes;

use super::typed;

/// Style and script are in files of their own to be read, and in one answer to be loaded.
const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>\n",
    include_str!("page/page.css"),
    "</style>\n",
    include_str!("page/body.html"),
    "<script>\n",
    include_str!("page/text.js"),
    include_str!("page/stream.js"),
    include_str!("page/list.js"),
    include_str!("page/detail.js"),
    include_str!("page/actions.js"),
    include_str!("page/main.js"),
    "</script>\n</body>\n</html>\n",
);

/// Allows only the page's own style and script, identified by their hashes, and requests to the daemon. The page has
/// buttons, so no other page may frame it.
const POLICY: &str = concat!(
    "default-src 'none'; ",
    "style-src 'sha256-0o1eCn5sKdUDC+Iz6hQc7P9S8fKSZxWkJkO2AxCqUqs='; ",
    "script-src 'sha256-DvfouN3FbOkQcTdLEplQ21QirKLPnf7vpket2lFR3q4='; ",
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
);

pub(super) fn response() -> Response<Bytes> {
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let headers = response.headers_mut();
    headers.insert("content-security-policy", HeaderValue::from_static(POLICY));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    response
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn between(open: &str, close: &str) -> &'static str {
        let (_, rest) = PAGE.split_once(open).unwrap();
        let (inner, after) = rest.split_once(close).unwrap();
        assert!(!after.contains(open), "one {open} only");
        inner
    }

    fn hash(text: &str) -> String {
        let mut sum = Command::new("sh")
            .args(["-c", "sha256sum | cut -c1-64 | tr -d '\\n' | sed 's/../\\\\x&/g' | xargs -0 printf '%b' | base64"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        sum.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn the_policy_allows_the_page_s_style_and_script() {
        for (kind, text) in [("style", between("<style>", "</style>")), ("script", between("<script>", "</script>"))] {
            let want = format!("{kind}-src 'sha256-{}'", hash(text));
            assert!(POLICY.contains(&want), "the page has changed: set {want}");
        }
    }

    #[test]
    fn the_page_refers_to_no_other_host() {
        let outside: Vec<_> = PAGE
            .match_indices("http")
            .filter(|(at, _)| !PAGE.get(*at..).is_some_and(|rest| rest.starts_with("http://www.w3.org/2000/svg")))
            .collect();
        assert_eq!(outside, []);
        assert!(!PAGE.contains("innerHTML") && !PAGE.contains(" style=\"") && !PAGE.contains(" onclick"));
    }
}
