//! What is not YAML, or not YAML as a configuration may be: reading ends there.

use super::problem::{Place, Problem};
use super::source::{Source, Span};

pub(super) fn syntax(source: &Source, at: usize, info: &str) -> Box<Problem> {
    // What comes up at the end of the text is shown where the text ends, not on the empty line behind it.
    let at = at.min(source.text.trim_end().len());
    let line = source.line_text(source.line(at));
    let indent = &line[..line.len() - line.trim_start().len()];
    if let Some(tab) = indent.find('\t') {
        let tab = source.line_start(source.line(at)) + tab;
        return fatal("a tab indents this line", "indent with spaces", tab..tab + 1);
    }
    let fact = format!("this is not YAML: {info}");
    let remedy = "check indentation and quotes here and in the line before; a value with `: ` or ` #` needs quotes";
    fatal(&fact, remedy, char_at(&source.text, at))
}

pub(super) fn fatal(fact: &str, remedy: &str, span: Span) -> Box<Problem> {
    let place = Place::File(span);
    Box::new(Problem { key: None, fact: fact.to_owned(), remedy: remedy.to_owned(), place, other: None })
}

pub(super) fn char_at(text: &str, at: usize) -> Span {
    let length = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    at..at + length
}
