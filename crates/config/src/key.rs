//! What is said about a key, once: its name, its type with unit and range, when a change of it
//! applies, and its one line of documentation. Its default is given where it is read; see `Scope`.

use serde_json::Value as Json;

use super::values::ValueType;

/// When a changed value applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At a reload, without touching a process.
    Live,
    /// At a reload, by starting a new process of the agent in question.
    NewProcess,
    /// At the next start of the program. A reload refuses the change.
    Restart,
}

impl Reload {
    pub(super) const fn words(self) -> &'static str {
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
    /// Another name for it, from the top of the file.
    pub(super) short: Option<&'static str>,
}

/// Declares a key. The call that reads it says what holds if it is not given.
pub(super) const fn key<T: ValueType>(name: &'static str, kind: T, reload: Reload, doc: &'static str) -> Key<T> {
    Key { name, kind, reload, doc, short: None }
}

impl<T> Key<T> {
    /// Gives it another name, which stands at the top of the file.
    pub(super) fn short(self, short: &'static str) -> Self {
        Self { short: Some(short), ..self }
    }
}

/// What holds if a key is not given.
#[derive(Debug, Clone)]
pub(super) enum Absent {
    /// This value, as a file gives it.
    Default(String),
    /// What the words say. The other is an example.
    Computed(&'static str, &'static str),
    /// Nothing. What is given is an example.
    Nothing(&'static str),
    /// It has to be there. What is given is an example.
    Required(&'static str),
    /// Nothing, and no new file should have it.
    Legacy,
}

/// A declaration that was read: what documents and schemas are made of.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    /// The path from the top, `agents[].id`.
    pub(super) path: String,
    pub(super) short: Option<&'static str>,
    pub(super) absent: Absent,
    pub(super) words: String,
    pub(super) schema: Json,
    pub(super) is_text: bool,
    pub(super) reload: Reload,
    pub(super) doc: &'static str,
}

/// What a schema declares, in the order in which it is read: the order of the documents.
#[derive(Debug, Clone)]
pub(super) enum Declaration {
    Key(Declared),
    /// A section, or a list of sections (`agents[]`), and what is said about it.
    Section {
        path: String,
        doc: &'static str,
    },
}
