//! Lines for a terminal: styled pieces that are cut or wrapped to its width.

use anstyle::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What stands for text that is left out.
const ELLIPSIS: char = '…';

/// A line of styled pieces. The text has no control characters.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Vec<(String, Style)>);

impl Line {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::default().then(text, Style::new())
    }

    /// The line with one more piece.
    pub(super) fn then(mut self, text: impl Into<String>, style: Style) -> Self {
        self.0.push((text.into(), style));
        self
    }

    /// The line with its escape sequences, cut to `width` columns.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let shown = self.0.iter().rposition(|(text, _)| !text.trim_end().is_empty()).map_or(0, |last| last + 1);
        let mut pieces: Vec<(&str, Style)> =
            self.0.iter().take(shown).map(|(text, style)| (text.as_str(), *style)).collect();
        if let Some((text, _)) = pieces.last_mut() {
            *text = text.trim_end();
        }
        let all: usize = pieces.iter().map(|(text, _)| text.width()).sum();
        let mut left = width.unwrap_or(all);
        let is_cut = all > left;
        let mut out = String::new();
        for (text, style) in pieces {
            if is_cut && text.width() >= left {
                // Longer by one, so that it is cut although it may just fit.
                let text = cut(&format!("{text}{ELLIPSIS}"), left);
                return out + &format!("{style}{text}{style:#}");
            }
            left -= text.width();
            out.push_str(&format!("{style}{text}{style:#}"));
        }
        out
    }

    /// The line on as many lines as it needs, the later ones indented.
    pub(super) fn wrapped(&self, width: Option<usize>, indent: usize) -> Vec<String> {
        let Some(width) = width.filter(|width| *width > indent + 1) else { return vec![self.render(width)] };
        let mut lines = vec![Self::default()];
        let mut used = 0;
        for (text, style) in &self.0 {
            for word in text.split_inclusive(' ') {
                if used + word.trim_end().width() > width && used > indent {
                    lines.push(Self::plain(" ".repeat(indent)));
                    used = indent;
                }
                used += word.width();
                if let Some(last) = lines.last_mut() {
                    last.0.push((word.to_owned(), *style));
                }
            }
        }
        lines.iter().map(|line| line.render(Some(width))).collect()
    }
}

/// The beginning of a text that has at most this width.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used > width {
            break;
        }
        short.push(c);
    }
    if width > 0 {
        short.push(ELLIPSIS);
    }
    short
}

/// A line with escape sequences, cut to this width. The sequences take no column and are kept.
pub(super) fn cut_styled(line: &str, width: usize) -> String {
    let mut out = String::new();
    let mut left = width;
    let mut rest = line;
    let all = anstream::adapter::strip_str(line).to_string().width();
    let limit = if all > width { width.saturating_sub(1) } else { width };
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("\x1b[") {
            let end = rest.find('m').map_or(rest.len(), |end| end + 1);
            out.push_str(rest.get(..end).unwrap_or_default());
            rest = rest.get(end..).unwrap_or_default();
            continue;
        }
        let used = c.width().unwrap_or_default();
        if width - left + used <= limit {
            out.push(c);
            left -= used;
        } else if left > 0 {
            out.push(ELLIPSIS);
            left = 0;
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_the_width_that_it_has_on_a_terminal() {
        assert_eq!(cut("agent", 5), "agent");
        assert_eq!(cut("agents", 5), "agen…");
        assert_eq!(cut("状态状态", 6), "状态…");
        assert_eq!(cut("a", 0), "");
        let line = Line::plain("ab").then("cdef", Style::new().bold()).then("gh", Style::new());
        assert_eq!(line.render(None), line.render(Some(8)));
        assert_eq!(anstream::adapter::strip_str(&line.render(Some(5))).to_string(), "abcd…");
        assert_eq!(anstream::adapter::strip_str(&line.render(Some(7))).to_string(), "abcdef…");
    }

    #[test]
    fn escape_sequences_take_no_columns() {
        assert_eq!(cut_styled("a\x1b[1mbc\x1b[0m", 3), "a\x1b[1mbc\x1b[0m");
        assert_eq!(cut_styled("a\x1b[1mbcd\x1b[0me", 3), "a\x1b[1mb…\x1b[0m");
        assert_eq!(cut_styled("abc", 0), "");
    }

    #[test]
    fn a_wrapped_line_keeps_every_word() {
        let line = Line::plain("one two three four");
        assert_eq!(line.wrapped(Some(9), 2), ["one two", "  three", "  four"]);
        assert_eq!(line.wrapped(None, 2), ["one two three four"]);
    }
}
