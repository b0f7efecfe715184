//! Types of values that only the process of an agent has: variables, a file mode mask, a limit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value as Json, json};
use statemachine::supervision::{ExitCodes, StopSignal};

use super::node::{Entry, Kind, Node};
use super::numbers::Whole;
use super::paths::FilePath;
use super::process::{EnvFile, MAX_VARIABLE_BYTES, Variables, refused_name};
use super::raw::{Raw, ReadResult, ValueError, invalid, quote};
use super::scalar::Scalar;
use super::values::ValueType;

/// Variables with their values. No message shows a value.
pub(super) struct EnvMap;

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
pub(super) struct EnvFilePath;

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

    fn remark(&self, value: &EnvFile) -> Option<(String, String)> {
        FilePath.remark(&value.path)
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

/// The name of a signal, with or without `SIG`.
pub(super) struct SignalName;

impl ValueType for SignalName {
    type Value = StopSignal;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<StopSignal> {
        let name = raw.text().map(|text| text.strip_prefix("SIG").unwrap_or(text));
        match StopSignal::ALL.iter().find(|signal| name == Some(signal.as_str())) {
            Some(signal) => Ok(*signal),
            None => invalid(format!("is {}", raw.describe()), format!("write {}", self.description())),
        }
    }

    fn show(&self, value: &StopSignal) -> Option<String> {
        Some(value.as_str().to_owned())
    }

    fn description(&self) -> String {
        let names: Vec<String> = StopSignal::ALL.iter().map(|signal| format!("`{}`", signal.as_str())).collect();
        format!("one of {}", names.join(", "))
    }

    fn schema(&self) -> Json {
        let names = StopSignal::ALL.iter().map(|signal| signal.as_str());
        json!({ "enum": names.clone().map(str::to_owned).chain(names.map(|name| format!("SIG{name}"))).collect::<Vec<_>>() })
    }
}

/// A list of exit codes.
pub(super) struct ExitCodeList;

impl ValueType for ExitCodeList {
    type Value = ExitCodes;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<ExitCodes> {
        let Raw::Node(Node { kind: Kind::List(items), .. }) = raw else {
            return invalid(format!("is {}", raw.describe()), "write a list of numbers, such as `[0, 2]`");
        };
        let code = |(index, item): (usize, &Node)| {
            let code = Whole(0_u8, 255).read(&Raw::Node(item));
            code.map_err(|error| ValueError { fact: format!("has item {}, which {}", index + 1, error.fact), ..error })
        };
        Ok(ExitCodes::of(&items.iter().enumerate().map(code).collect::<ReadResult<Vec<u8>>>()?))
    }

    fn show(&self, value: &ExitCodes) -> Option<String> {
        Some(format!("[{}]", value.iter().map(|code| code.to_string()).collect::<Vec<_>>().join(", ")))
    }

    fn description(&self) -> String {
        "a list of numbers, each 0 to 255".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 255 } })
    }
}

/// Three octal digits, with or without a `0` before them. `0027` without quotes is text, too.
pub(super) fn octal(raw: &Raw<'_>) -> Option<u32> {
    let digits = raw.text().map(|text| text.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text))?;
    let is_octal = digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
}

/// The bits that files of the process do not get, in octal digits.
pub(super) struct Umask;

impl ValueType for Umask {
    type Value = u32;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<u32> {
        match octal(raw) {
            Some(mask) => Ok(mask),
            None => invalid(format!("is {}", raw.describe()), "write four octal digits, such as `\"0027\"`"),
        }
    }

    fn show(&self, value: &u32) -> Option<String> {
        Some(format!("{value:04o}"))
    }

    fn description(&self) -> String {
        "four octal digits".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^0?[0-7]{3}$" })
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// The largest limit that is a number. The kernel takes the largest `u64` for no limit.
const MAX_LIMIT: u64 = i64::MAX as u64;

/// A limit of the kernel. `None` is no limit.
pub(super) struct ResourceLimit;

impl ValueType for ResourceLimit {
    type Value = Option<u64>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Option<u64>> {
        if raw.text() == Some("unlimited") {
            return Ok(None);
        }
        let number = raw.number().and_then(|(_, number)| number.as_u64()).filter(|number| *number <= MAX_LIMIT);
        match number {
            Some(number) => Ok(Some(number)),
            None => invalid(format!("is {}", raw.describe()), "write a whole number, or `unlimited`"),
        }
    }

    fn show(&self, value: &Option<u64>) -> Option<String> {
        Some(value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string()))
    }

    fn description(&self) -> String {
        "a whole number or `unlimited`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": MAX_LIMIT }, { "const": "unlimited" }] })
    }
}

/// The name of a user or group.
pub(super) struct AccountName;

impl ValueType for AccountName {
    type Value = String;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<String> {
        let is_name = |name: &&str| {
            let is_forbidden = |c: char| matches!(c, ':' | ',' | '/') || c.is_whitespace() || c.is_control();
            !name.is_empty() && name.len() <= 256 && !name.contains(is_forbidden)
        };
        let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let text = raw.text().or_else(|| raw.scalar_text().filter(is_number));
        match text.filter(is_name) {
            Some(name) => Ok(name.to_owned()),
            None => invalid(format!("is {}", raw.describe()), "write a name, such as `web`, or the number of one"),
        }
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn description(&self) -> String {
        "a name or number".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": ["string", "integer"], "pattern": "^[^:,/\\s]{1,256}$", "minimum": 0 })
    }

    fn is_text(&self) -> bool {
        true
    }
}
