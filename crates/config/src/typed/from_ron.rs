//! Reads RON. Its parser reports the first problem, with line and column.

use ron::Options;
use ron::error::Error;
use ron::extensions::Extensions;
use serde::de::DeserializeOwned;

use super::error::WrongValue;
use crate::problem::Problem;
use crate::source::Source;
use crate::syntax::char_at;

/// The value of a file.
pub(super) fn read<T: DeserializeOwned>(source: &Source) -> Result<T, Box<Problem>> {
    // `crash(signal: kill)` instead of `crash((signal: kill))`, and `5s` instead of `Some(5s)`.
    let options =
        Options::default().with_default_extension(Extensions::UNWRAP_VARIANT_NEWTYPES | Extensions::IMPLICIT_SOME);
    options.from_str(&source.text).map_err(|error| {
        let at = |line: usize, column: usize| {
            let text = source.line_text(line);
            let within = text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
            source.line_start(line) + within
        };
        let is_name = matches!(&error.code, Error::NoSuchStructField { .. } | Error::NoSuchEnumVariant { .. });
        // The parser is behind a name.
        let start = if is_name { error.span.start } else { error.span.end };
        wrong(&error.code).at(char_at(&source.text, at(start.line, start.col))).into_problem()
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other errors are about the syntax")]
fn wrong(error: &Error) -> WrongValue {
    match error {
        Error::NoSuchStructField { expected, found, .. } => WrongValue::of_unknown("key", found, expected),
        Error::NoSuchEnumVariant { expected, found, .. } => WrongValue::of_unknown("name", found, expected),
        Error::MissingStructField { field, .. } => WrongValue::of_missing(field),
        Error::DuplicateStructField { field, .. } => WrongValue::of_repeated(field),
        Error::InvalidValueForType { expected, found } => WrongValue::of_type(found, expected),
        Error::Message(message) => WrongValue::of_message(message),
        other => {
            let fact = format!("this is not RON: {other}");
            WrongValue::new(fact, "check brackets, commas and quotes here".to_owned())
        }
    }
}
