//! Which format of `/metrics` an `Accept` header prefers.

/// The formats of `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON, the default.
    Json,
    /// The Prometheus text format.
    Text,
}

/// The preference for a format: quality in thousandths, then the precision of the media range.
type Preference = (u16, u8);

/// The preferred format. JSON if neither is preferred or accepted, because a browser can show it anyway.
pub(super) fn preferred(accept: &str) -> Format {
    let preference =
        |types: &[&str]| types.iter().map(|offered| preference_for(accept, offered)).max().unwrap_or((0, 0));
    let text = preference(&["text/plain", "application/openmetrics-text"]);
    if text.0 > 0 && text > preference(&["application/json"]) { Format::Text } else { Format::Json }
}

/// The preference of the most precise range that covers `offered`.
fn preference_for(accept: &str, offered: &str) -> Preference {
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

/// A quality from 0 to 1 with up to three decimals. An invalid quality counts as 0.
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
mod tests {
    use super::*;

    #[test]
    fn json_is_the_default() {
        for accept in
            ["", "*/*", "application/json", "text/html, */*;q=0.8", "image/png", "text/plain;q=0", "garbage;;,="]
        {
            assert_eq!(preferred(accept), Format::Json, "{accept}");
        }
    }

    #[test]
    fn scrapers_get_text() {
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
    fn the_quality_of_the_most_precise_range_decides() {
        assert_eq!(preferred("application/json;q=0.9, text/plain;q=0.8"), Format::Json);
        assert_eq!(preferred("application/json;q=0.8, text/plain;q=0.9"), Format::Text);
        assert_eq!(preferred("application/json, text/plain"), Format::Json);
        assert_eq!(preferred("*/*, application/json;q=0.1"), Format::Text);
        assert_eq!(preferred("text/*;q=0.1, text/plain;q=0.9, application/json;q=0.5"), Format::Text);
        assert_eq!(preferred("text/plain;q=7, */*;q=0.1"), Format::Json);
    }
}
