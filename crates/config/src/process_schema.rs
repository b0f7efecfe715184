//! The keys of an agent's process.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::daemon_schema::Context;
use super::key::Reload::NewProcess;
use super::key::{Key, key};
use super::node::{Entry, Kind, Node};
use super::paths::FilePath;
use super::process::{EnvFile, MAX_VARIABLE_BYTES, ProcessSettings, Variables, refused_name};
use super::raw::{Raw, ReadResult, invalid, quote};
use super::reader::Sourced;
use super::scalar::Scalar;
use super::scope::Scope;
use super::values::{OrEmpty, ValueType};

const ENV: Key<EnvMap> = key(
    "env",
    EnvMap,
    NewProcess,
    "Variables that are added to the environment of the program. Their values are in no answer and no log.",
);

const ENV_FILE: Key<OrEmpty<EnvFilePath>> = key(
    "env_file",
    OrEmpty(EnvFilePath),
    NewProcess,
    "A file with `NAME=value` lines, read at each start. A variable of the same name in `env` replaces that of the \
     file. With a `-` before the path the file may be missing.",
);

/// Reads the keys of an agent's process.
pub(super) fn process(item: &Scope<'_>, context: &Context<'_, '_>) -> ProcessSettings {
    let env = item.value(&ENV, Variables::default());
    let env_file = item.sourced(&ENV_FILE, None);
    if let Some(file) = env_file.value.as_ref().filter(|_| context.files.are_checked()) {
        warn_of_env_file(item, &env_file, file);
    }
    ProcessSettings { env, env_file: env_file.value }
}

/// Warns about a file that a start would refuse, or that others may write. Blocks on the disk.
fn warn_of_env_file(item: &Scope<'_>, given: &Sourced<Option<EnvFile>>, file: &EnvFile) {
    if let Err(error) = file.read() {
        let error = error.to_string();
        let (fact, remedy) = error.split_once(": ").unwrap_or((&error, "correct the file"));
        item.warn(given, ENV_FILE.name, &format!("prevents each start, because {fact}"), remedy.to_owned());
    } else if file.path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o022 != 0) {
        let remedy = format!("run `chmod go-w {}`", file.path.display());
        item.warn(given, ENV_FILE.name, "names a file that is writable by group or others", remedy);
    }
}

/// Variables with their values. No message shows a value.
struct EnvMap;

impl ValueType for EnvMap {
    type Value = Variables;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Variables> {
        let Raw::Node(Node { kind: Kind::Map(entries), .. }) = raw else {
            let what = if raw.scalar().is_some() { "a single value" } else { "a list" };
            return invalid(format!("is {what}"), "write `NAME: value` lines below it, or `{}` for none");
        };
        let variable = |Entry { key, value, .. }: &Entry| {
            let name = quote(key);
            if let Some(refused) = refused_name(key) {
                return invalid(format!("contains {name}, which {refused}"), "use another name");
            }
            let raw = Raw::Node(value);
            let text = match raw.scalar() {
                Some((text, kind)) if kind != Scalar::Null => text,
                _ => {
                    return invalid(
                        format!("contains {name} without a single value"),
                        "write text, or `\"\"` for an empty value",
                    );
                }
            };
            if text.contains('\0') || key.len() + text.len() >= MAX_VARIABLE_BYTES {
                return invalid(
                    format!("contains {name} with a NUL byte, or with more than 128 KiB"),
                    "write a shorter text without NUL",
                );
            }
            Ok((key.clone(), text.to_owned()))
        };
        entries.iter().map(variable).collect::<ReadResult<BTreeMap<_, _>>>().map(Variables)
    }

    /// Only the names, because values are not compared as text.
    fn show(&self, value: &Variables) -> Option<String> {
        Some(format!("{{{}}}", value.names()))
    }

    fn description(&self) -> String {
        "names with texts".to_owned()
    }

    fn schema(&self) -> Json {
        json!({
            "type": "object",
            "propertyNames": { "pattern": "^[^=\\s]+$" },
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        })
    }
}

/// The path of a file, with `-` before it if the file may be missing.
struct EnvFilePath;

impl ValueType for EnvFilePath {
    type Value = EnvFile;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<EnvFile> {
        let text = raw.text();
        let optional = text.and_then(|text| text.strip_prefix('-'));
        let path: PathBuf = FilePath.read(&optional.map_or_else(|| raw.clone(), Raw::Text))?;
        Ok(EnvFile { path, optional: optional.is_some() })
    }

    fn show(&self, value: &EnvFile) -> Option<String> {
        Some(format!("{}{}", if value.optional { "-" } else { "" }, value.path.display()))
    }

    fn description(&self) -> String {
        "the path of a file".to_owned()
    }

    fn schema(&self) -> Json {
        FilePath.schema()
    }

    fn is_text(&self) -> bool {
        true
    }
}
