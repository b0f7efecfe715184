//! The type of a value that is a program with its arguments.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::raw::{Raw, ReadResult, invalid, quote};
use super::values::{TextList, ValueType};

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The absolute path of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// A list of the absolute path of a program and its arguments. An empty list is no command.
pub(super) struct CommandLine;

impl ValueType for CommandLine {
    type Value = Option<Command>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Option<Command>> {
        const REMEDY: &str =
            "write an absolute path and its arguments, such as `[/usr/lib/nagios/plugins/check_tcp, -p, \"80\"]`";
        let texts = TextList.read(raw)?;
        let Some((program, args)) = texts.split_first() else { return Ok(None) };
        if let Some(text) = texts.iter().find(|text| text.contains('\0')) {
            return invalid(format!("has the item {}, which contains a NUL byte", quote(text)), "remove the NUL byte");
        }
        if !Path::new(program).is_absolute() || program.ends_with('/') {
            return invalid(
                format!("begins with {}, which is not the absolute path of a program", quote(program)),
                REMEDY,
            );
        }
        Ok(Some(Command { program: program.into(), args: args.to_vec() }))
    }

    fn show(&self, value: &Option<Command>) -> Option<String> {
        let texts = value.iter().flat_map(|command| {
            [command.program.display().to_string()].into_iter().chain(command.args.iter().cloned())
        });
        Some(json!(texts.collect::<Vec<_>>()).to_string())
    }

    fn description(&self) -> String {
        "a list of the absolute path of a program and its arguments".to_owned()
    }

    fn schema(&self) -> Json {
        json!({
            "type": "array",
            "items": { "type": "string" },
            "prefixItems": [{ "type": "string", "pattern": "^/.*[^/]$" }],
        })
    }
}
