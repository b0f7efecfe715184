//! The one place where a chain of causes becomes a line.

use std::error::Error;

/// An error and all that led to it, the nearest cause first.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    line(error.to_string(), error.source())
}

/// A fact and all that led to it, the nearest cause first.
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
