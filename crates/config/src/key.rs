//! The declaration of a key: its name, its type with unit and range, when a change applies, and one
//! line of documentation. The call that reads it gives its default, see `Scope`.

use serde_json::Value as Json;

use super::values::ValueType;

/// When a changed value applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At a reload, without a new process.
    Live,
    /// At a reload, with a new process of the agent.
    NewProcess,
    /// At the next start of the program. A reload refuses the change.
    Restart,
}

impl Reload {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::NewProcess => "new process",
            Self::Restart => "restart",
        }
    }
}

/// The declaration of a key.
pub(super) struct Key<T> {
    /// The name within its section.
    pub(super) name: &'static str,
    pub(super) kind: T,
    pub(super) reload: Reload,
    pub(super) doc: &'static str,
    /// Its short form, a top-level key.
    pub(super) short: Option<&'static str>,
}

/// Declares a key. The call that reads it gives the default.
pub(super) const fn key<T: ValueType>(name: &'static str, kind: T, reload: Reload, doc: &'static str) -> Key<T> {
    Key { name, kind, reload, doc, short: None }
}

impl<T> Key<T> {
    /// Adds a short form, a top-level key.
    pub(super) fn short(self, short: &'static str) -> Self {
        Self { short: Some(short), ..self }
    }
}

/// The meaning of an absent key.
#[derive(Debug, Clone)]
pub(super) enum Absent {
    /// This value, in the syntax of the file.
    Default(String),
    /// A value that depends on other keys: its description, and an example.
    Computed(&'static str, &'static str),
    /// There is no value. The text is an example.
    Nothing(&'static str),
    /// A problem: the key is required. The text is an example.
    Required(&'static str),
    /// There is no value, and new files should not have the key.
    Legacy,
}

/// The declaration of a key that was read. Documents and schemas are generated from it.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    /// The full path, such as `agents[].id`.
    pub(super) path: String,
    pub(super) short: Option<&'static str>,
    pub(super) absent: Absent,
    pub(super) description: String,
    pub(super) schema: Json,
    pub(super) is_text: bool,
    pub(super) reload: Reload,
    pub(super) doc: &'static str,
}

/// A declaration. Documents list the declarations in the order in which a schema reads them.
#[derive(Debug, Clone)]
pub(super) enum Declaration {
    Key(Declared),
    /// A section, or a list of sections (`agents[]`), with its documentation.
    Section {
        path: String,
        doc: &'static str,
    },
}
