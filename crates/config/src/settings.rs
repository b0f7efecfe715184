//! The values in force, by key, and the changes from one configuration to another.
//!
//! Reading a key records its value, so a reload compares every key.

use std::fmt;

use super::key::Reload;
use super::mask::mask_address;

/// One key with its value in the syntax of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its path, such as `http.port`. For an agent of the daemon, the path within its list item.
    pub(super) key: String,
    /// `None`: it is not set and has no default.
    pub(super) value: Option<String>,
    reload: Reload,
}

/// The values of one program, in the order of the documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings(pub(super) Vec<Setting>);

impl Settings {
    /// Adds a key with its value, or replaces its value.
    pub(super) fn record(&mut self, key: &str, value: Option<String>, reload: Reload) {
        match self.0.iter_mut().find(|known| known.key == key) {
            Some(known) => known.value = value,
            None => self.0.push(Setting { key: key.to_owned(), value, reload }),
        }
    }

    /// The changes from these values to `new`.
    pub(super) fn changes_to(&self, new: &Self) -> Changes {
        let value = |settings: &Self, key: &str| {
            settings.0.iter().find(|setting| setting.key == key).and_then(|setting| setting.value.clone())
        };
        let gone = self.0.iter().filter(|old| !new.0.iter().any(|new| new.key == old.key));
        let all = new.0.iter().chain(gone);
        let change = |setting: &Setting| Change {
            key: setting.key.clone(),
            old: value(self, &setting.key),
            new: value(new, &setting.key),
            reload: setting.reload,
        };
        Changes(all.map(change).filter(|change| change.old != change.new).collect())
    }
}

/// A changed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The full path, such as `http.port`.
    pub key: String,
    /// The old value.
    pub old: Option<String>,
    /// The new value.
    pub new: Option<String>,
    /// When the change applies.
    pub reload: Reload,
}

/// The changes from one configuration to another. `Display` lists them, for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Change> {
        self.0.iter()
    }

    /// Why a reload cannot apply the changes: the keys that need a restart.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let restart = self.0.iter().filter(|change| change.reload == Reload::Restart);
        let restart: Vec<String> = restart.map(ToString::to_string).collect();
        let keys = if restart.len() == 1 { "this change needs" } else { "these changes need" };
        let fact = format!("{keys} a restart, so nothing was changed: {}", restart.join(", "));
        (!restart.is_empty()).then(|| format!("{fact}; restart the agent, or undo them"))
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(if changes.is_empty() { "nothing changed" } else { "" })?;
        f.write_str(&changes.join(", "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.as_deref().map_or_else(|| "(none)".to_owned(), mask_address);
        write!(f, "{}: {} -> {}", self.key, show(&self.old), show(&self.new))
    }
}
