//! The documents that are generated from the declarations of the keys.

use super::example::example;
use super::json_schema::json_schema;
use super::markdown::markdown;
use super::outline::{Program, declared};

/// The format of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON Schema, draft 2020-12, for editors and validators.
    JsonSchema,
    /// A configuration file with a comment for each key.
    Example,
    /// Tables in Markdown.
    Markdown,
}

/// Every key of a program's configuration. Ends in a line feed.
#[must_use]
pub fn document(program: Program, format: Format) -> String {
    let root = declared(program);
    match format {
        Format::JsonSchema => json_schema(program, &root),
        Format::Example => example(program, &root),
        Format::Markdown => markdown(program, &root),
    }
}
