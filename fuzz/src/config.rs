//! What holds for both configuration files.

use std::borrow::Cow;

use ops_config::Problems;

/// The number of problems that are shown. The others are counted.
const SHOWN: usize = 50;

/// No UTF-8 text begins with this byte, so no valid file does.
const STRETCH: u8 = 0xf5;

/// The file that an input stands for. An input that begins with [`STRETCH`] is a short form of a long file, so that short
/// inputs find work that takes more than linear time: the lengths of head and unit, then head, unit and tail. The unit is
/// repeated until the file has `size` bytes. Any other input is the file itself.
pub(super) fn file(input: &[u8], size: usize) -> Cow<'_, [u8]> {
    let [STRETCH, head, unit, rest @ ..] = input else { return input.into() };
    let (head, rest) = rest.split_at(usize::from(*head).min(rest.len()));
    let (unit, tail) = rest.split_at(usize::from(*unit).min(rest.len()));
    let room = size.saturating_sub(head.len() + tail.len());
    [head, &unit.repeat(room.checked_div(unit.len()).unwrap_or(0)), tail].concat().into()
}

/// The reasons for a refused file are safe to show on a terminal, and point into the file.
pub(super) fn assert_explained(file: &[u8], problems: &Problems) {
    let lines = file.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert!(problems.iter().len() > 0, "refused without a reason");
    for problem in problems.iter() {
        assert!(!problem.fact.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
        if let Some((line, column)) = problems.position(problem) {
            assert!((1..=lines).contains(&line) && column > 0, "line {line} of {lines}, column {column}: {problem:?}");
        }
    }
    let (page, log) = (problems.render(false), problems.to_string());
    for text in [&page, &log] {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "a control character: {text:?}");
    }
    assert!(page.ends_with("problem\n") || page.contains(" problems"), "{page}");
    let all = problems.iter().len();
    assert_eq!(log.lines().count(), all.min(SHOWN) + usize::from(all > SHOWN), "one line per problem: {log:?}");
    assert!(!problems.render(true).is_empty());
}

/// An accepted file as serde_yaml alone reads it.
pub(super) fn second_reading(file: &[u8]) -> serde_yaml::Value {
    let text = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    serde_yaml::from_slice(text).expect("what is accepted is YAML")
}

/// Every key that has a value, as the parts of its path.
pub(super) fn keys(section: &serde_yaml::Value) -> Vec<Vec<&str>> {
    let entries = section.as_mapping().into_iter().flatten();
    let named = entries.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.as_str().unwrap_or("?"), value));
    let below = |(key, value)| match keys(value) {
        keys if keys.is_empty() => vec![vec![key]],
        keys => keys.into_iter().map(|rest| [&[key], &rest[..]].concat()).collect(),
    };
    named.flat_map(below).collect()
}
