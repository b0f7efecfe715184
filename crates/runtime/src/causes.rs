//! Writes an error and its causes as one line.

use std::any::Any;
use std::error::Error;

/// The error and its causes, the nearest cause first.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    line(error.to_string(), error.source())
}

/// A fact and its causes, the nearest cause first.
#[must_use]
pub fn line(mut text: String, cause: Option<&(dyn Error + 'static)>) -> String {
    let mut next = cause;
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// The message of a panic.
#[must_use]
pub fn of_panic(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
