//! Syntax errors, and limits that a configuration exceeds. Reading ends at the first one.

use super::problem::{Location, Problem};
use super::source::{Source, Span};

pub(super) fn syntax(source: &Source, at: usize, info: &str) -> Box<Problem> {
    // An error at the end of the file is shown at the end of the text, not on the empty line after it.
    let at = at.min(source.text.trim_end().len());
    let line = source.line_text(source.line(at));
    let indent = &line[..line.len() - line.trim_start().len()];
    if let Some(tab) = indent.find('\t') {
        let tab = source.line_start(source.line(at)) + tab;
        return fatal("a tab indents this line", "indent with spaces", tab..tab + 1);
    }
    let fact = format!("this is not YAML: {info}");
    let remedy =
        "check indentation and quotes on this line and the line before; a value with `: ` or ` #` needs quotes";
    fatal(&fact, remedy, char_at(&source.text, at))
}

pub(super) fn fatal(fact: &str, remedy: &str, span: Span) -> Box<Problem> {
    let location = Location::File(span);
    Box::new(Problem { key: None, fact: fact.to_owned(), remedy: remedy.to_owned(), location, other: None })
}

pub(super) fn char_at(text: &str, at: usize) -> Span {
    let length = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    at..at + length
}
