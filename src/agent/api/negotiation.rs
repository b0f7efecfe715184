//! Which format of `/metrics` an `Accept` header asks for.

/// The formats there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON, the default.
    Json,
    /// The Prometheus text format.
    Text,
}

/// How much a format is wanted: quality in thousandths, then how precisely it was named.
type Want = (u16, u8);

/// The format that is wanted most. JSON if they are wanted alike or not at all: an answer in the wrong format is of more
/// use to a person with a browser than none.
pub(super) fn preferred(accept: &str) -> Format {
    let want = |types: &[&str]| types.iter().map(|offered| wanted(accept, offered)).max().unwrap_or((0, 0));
    let text = want(&["text/plain", "application/openmetrics-text"]);
    if text.0 > 0 && text > want(&["application/json"]) { Format::Text } else { Format::Json }
}

/// What the most precise of the ranges that cover `offered` says.
fn wanted(accept: &str, offered: &str) -> Want {
    let (precision, quality) = accept.split(',').filter_map(|range| covers(range, offered)).max().unwrap_or((0, 0));
    (quality, precision)
}

/// Precision and quality of a media range, if it covers `offered`.
fn covers(range: &str, offered: &str) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?;
    let precision = if name.eq_ignore_ascii_case(offered) {
        3
    } else if name == "*/*" {
        1
    } else {
        let family = name.strip_suffix("/*")?;
        family.eq_ignore_ascii_case(offered.split('/').next()?).then_some(2)?
    };
    let quality = parts.find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
    });
    Some((precision, quality.unwrap_or(1000)))
}

/// A quality from 0 to 1 with up to three decimals. What is none counts for nothing.
fn thousandths(quality: &str) -> u16 {
    let (whole, decimals) = quality.split_once('.').unwrap_or((quality, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    let thousandths = format!("{decimals:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => thousandths,
        "1" if thousandths == 0 => 1000,
        _ => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn json_unless_something_else_is_asked_for() {
        for accept in
            ["", "*/*", "application/json", "text/html, */*;q=0.8", "image/png", "text/plain;q=0", "garbage;;,="]
        {
            assert_eq!(preferred(accept), Format::Json, "{accept}");
        }
    }

    #[test]
    fn text_for_scrapers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,*/*;q=0.2";
        for accept in
            [prometheus, "text/plain", "TEXT/PLAIN", "text/*", "text/plain, */*", "application/openmetrics-text"]
        {
            assert_eq!(preferred(accept), Format::Text, "{accept}");
        }
        assert_eq!(preferred("image/png,text/plain;q=0.1"), Format::Text);
    }

    #[test]
    fn quality_decides_and_the_precise_range_says_it() {
        assert_eq!(preferred("application/json;q=0.9, text/plain;q=0.8"), Format::Json);
        assert_eq!(preferred("application/json;q=0.8, text/plain;q=0.9"), Format::Text);
        assert_eq!(preferred("application/json, text/plain"), Format::Json);
        assert_eq!(preferred("*/*, application/json;q=0.1"), Format::Text);
        assert_eq!(preferred("text/*;q=0.1, text/plain;q=0.9, application/json;q=0.5"), Format::Text);
        assert_eq!(preferred("text/plain;q=7, */*;q=0.1"), Format::Json);
    }
}
