//! The permissions of a file: their type, and a warning about those of a configuration.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::process_values::octal;
use super::raw::{Raw, ReadResult, invalid};
use super::values::ValueType;

/// Permissions with which the owner reads and writes, and others at most read.
pub(super) struct FileMode;

impl ValueType for FileMode {
    type Value = u32;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<u32> {
        const REMEDY: &str = "write `\"0600\"`, `\"0640\"`, `\"0604\"` or `\"0644\"`";
        let Some(mode) = octal(raw) else { return invalid(format!("is {}", raw.describe()), REMEDY) };
        let fact = match mode {
            _ if mode & 0o022 != 0 => "which lets others write the file",
            _ if mode & 0o600 != 0o600 => "which does not let the owner read and write the file",
            _ if mode & 0o111 != 0 => "which makes the file executable",
            _ => return Ok(mode),
        };
        invalid(format!("is `{mode:04o}`, {fact}"), REMEDY)
    }

    fn show(&self, value: &u32) -> Option<String> {
        Some(format!("{value:04o}"))
    }

    fn description(&self) -> String {
        "`0600`, `0640`, `0604` or `0644`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^0?6[04][04]$" })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// A warning about a configuration that every user of the host can change. Blocks on the disk.
pub(super) fn open_to_all(path: &Path) -> Option<String> {
    let found = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mode = found.permissions().mode() & 0o7777;
    let file = path.display();
    (mode & 0o002 != 0).then(|| {
        format!("{file}: all users of this host can write this file (mode {mode:04o}): run `chmod o-w {file}`")
    })
}
